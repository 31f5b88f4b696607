"""Continue a prompt: see ``--help``."""

from megalite.evaluation.generate import main

if __name__ == "__main__":
    main()
