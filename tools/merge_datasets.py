"""Concatenate several .bin/.idx datasets. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("merge-datasets")
