"""Tokenize documents into Megatron's ``.bin`` / ``.idx``: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("preprocess")
