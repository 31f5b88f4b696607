"""Run lm-eval tasks on a model: see ``--help``."""

from megalite.evaluation.evaluate import main

if __name__ == "__main__":
    main()
