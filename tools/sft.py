"""Fine-tune a model on conversations or instructions. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("sft")
