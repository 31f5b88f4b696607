"""Make chat, preference and question rows from installed packages' docstrings: see ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("make-chat-rows")
