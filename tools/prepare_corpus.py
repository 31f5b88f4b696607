"""Make clean shards of text by a recipe: see ``--help``."""

from megalite.corpus.prepare import main

if __name__ == "__main__":
    main()
