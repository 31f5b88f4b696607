"""Clean, filter, deduplicate and tokenize text by a recipe. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("prepare-corpus")
