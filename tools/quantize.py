"""A model in int8 or as GGUF, with bits per byte before and after: see ``--help``."""

from megalite.generation.quantize import main

if __name__ == "__main__":
    main()
