"""Make clean shards of text, and tokens, by a recipe: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("prepare-corpus")
