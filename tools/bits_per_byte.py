"""Measure how well a model predicts a text. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("bits-per-byte")
