"""Remove exact and near-duplicate documents: see ``--help``."""

from megalite.corpus.dedup import main

if __name__ == "__main__":
    main()
