"""Train a classifier of documents (toxicity, spam, quality): see ``--help``."""

from megalite.corpus.train_classifier import main

if __name__ == "__main__":
    main()
