"""Fine-tune a model on conversations: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("sft")
