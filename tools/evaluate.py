"""Run lm-eval tasks on a model: see ``--help``."""

from megalite.evaluation.lm_eval_tasks import main

if __name__ == "__main__":
    main()
