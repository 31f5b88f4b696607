"""Train a tokenizer: see ``--help``."""

from megalite.tokenizer.train import main

if __name__ == "__main__":
    main()
