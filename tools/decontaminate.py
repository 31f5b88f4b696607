"""Take documents with evaluation items out of a corpus: see ``--help``."""

from megalite.corpus.decontaminate import main

if __name__ == "__main__":
    main()
