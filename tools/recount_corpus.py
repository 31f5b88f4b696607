"""Count a dry run's documents again by other thresholds: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("recount-corpus")
