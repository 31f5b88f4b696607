"""Continue a prompt: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("generate")
