"""Text to learn from: which files (``mix``), and how much of each (``sampling``)."""
