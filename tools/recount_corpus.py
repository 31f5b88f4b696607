"""Count the documents of a dry run again with other thresholds. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("recount-corpus")
