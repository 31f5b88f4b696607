"""Serve a local web page to chat with a model. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("chat")
