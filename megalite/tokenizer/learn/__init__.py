"""Learn a vocabulary from a sample: its ``design``, the trainers, and the written ``folder``."""
