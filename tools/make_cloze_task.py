"""Make a multiple-choice task from held-out documents. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("make-cloze-task")
