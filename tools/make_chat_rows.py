"""Make example conversations from installed docstrings. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("make-chat-rows")
