"""Rows of files and hub datasets become the samples of a run."""
