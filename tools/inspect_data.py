"""Show dataset statistics, or trace a training sample to its file. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("inspect-data")
