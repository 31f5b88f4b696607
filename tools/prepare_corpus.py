"""Make clean shards of text, and tokens, by a recipe: see ``--help``."""

from megalite.data.prepare_corpus import main

if __name__ == "__main__":
    main()
