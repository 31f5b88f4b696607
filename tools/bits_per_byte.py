"""Bits per byte of a model on documents: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("bits-per-byte")
