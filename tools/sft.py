"""Fine-tune a model on conversations: see ``--help``."""

from megalite.posttraining.sft import main

if __name__ == "__main__":
    main()
