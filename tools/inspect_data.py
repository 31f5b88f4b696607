"""Look into ``.bin`` / ``.idx`` and into what a run reads: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("inspect-data")
