"""Verify that every parallel layout trains the same model. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("parity")
