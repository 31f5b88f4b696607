"""Make chat, preference and question rows from installed packages' docstrings: see ``--help``."""

from megalite.posttraining.docstring_rows import main

if __name__ == "__main__":
    main()
