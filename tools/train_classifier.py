"""Train a document classifier to use as a filter. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("train-classifier")
