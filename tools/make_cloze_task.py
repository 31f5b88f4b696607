"""Make an lm-eval task from held-out documents: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("make-cloze-task")
