"""Bits per byte of a model on documents: see ``--help``."""

from megalite.evaluation.bits_per_byte import main

if __name__ == "__main__":
    main()
