"""A chat page for a model: see ``--help``."""

from megalite.generation.chat import main

if __name__ == "__main__":
    main()
