"""Learn a vocabulary from a sample: what is wanted (``design``), and the trainers."""
