"""Tune a model on preferences (DPO, KTO, GRPO): see ``--help``."""

from megalite.posttraining.preferences import main

if __name__ == "__main__":
    main()
