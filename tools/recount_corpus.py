"""Count a dry run's documents again by other thresholds: see ``--help``."""

from megalite.corpus.scores import main

if __name__ == "__main__":
    main()
