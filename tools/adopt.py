"""Check .bin/.idx made by Megatron-LM so that they can be used here. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("adopt")
