"""Look into ``.bin`` / ``.idx`` and into what a run reads: see ``--help``."""

from megalite.data.inspect_data import main

if __name__ == "__main__":
    main()
