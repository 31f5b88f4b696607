"""Concatenate ``.bin`` / ``.idx`` datasets: see ``--help``."""

from megalite.data.adopt import main

if __name__ == "__main__":
    main()
