"""Train a tokenizer that AutoTokenizer loads. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("train-tokenizer")
