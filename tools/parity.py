"""Prove that every layout trains the same model: see ``--help``."""

from megalite.parity.matrix import main

if __name__ == "__main__":
    main()
