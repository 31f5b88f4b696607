"""Prove that every layout trains the same model: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("parity")
