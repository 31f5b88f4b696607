"""Run benchmarks and compare models. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("evaluate")
