"""What is in a dataset: ``statistics``, ``sample_view`` (samples as text), ``trace`` (back to file and line)."""
