"""Tokenize documents into Megatron's ``.bin`` / ``.idx``: see ``--help``."""

from megalite.data.preprocess import main

if __name__ == "__main__":
    main()
