"""Train a tokenizer: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("train-tokenizer")
