"""Run lm-eval tasks on a model: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("evaluate")
