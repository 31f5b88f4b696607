"""Tokenize documents into .bin/.idx. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("preprocess-data")
