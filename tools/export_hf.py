"""Export a checkpoint as a Hugging Face folder: see ``--help``."""

from megalite.export.export_hf import main

if __name__ == "__main__":
    main()
