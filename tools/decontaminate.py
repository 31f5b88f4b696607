"""Remove documents that contain evaluation items. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("decontaminate")
