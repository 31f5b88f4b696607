"""Export a checkpoint as a Hugging Face folder in a given precision. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("export-hf")
