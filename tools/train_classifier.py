"""Train a classifier of documents (toxicity, spam, quality): see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("train-classifier")
