"""Tune a model on preferences (DPO, KTO, GRPO): see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("preferences")
