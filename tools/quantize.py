"""A model in int8 or as GGUF, with bits per byte before and after: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("quantize")
