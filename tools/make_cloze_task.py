"""Make an lm-eval task from held-out documents: see ``--help``."""

from megalite.evaluation.cloze import main

if __name__ == "__main__":
    main()
