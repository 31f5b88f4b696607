"""Continue a prompt: see ``--help``."""

from megalite.generation.generate import main

if __name__ == "__main__":
    main()
