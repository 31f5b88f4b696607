"""Continue a prompt, chat, or answer a file of prompts. See ``--help``."""

from megalite.cli import run

if __name__ == "__main__":
    run("generate")
