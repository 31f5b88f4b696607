"""Take documents with evaluation items out of a corpus: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("decontaminate")
