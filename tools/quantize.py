"""Write a model as int8 or GGUF and measure the loss in quality. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("quantize")
