"""Tune a model with DPO, KTO or GRPO. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("preferences")
