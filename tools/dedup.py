"""Remove exact and near-duplicate documents. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("dedup")
