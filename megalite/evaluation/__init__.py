"""Measures how good a model is. Works on any Hugging Face folder.

Three commands: ``evaluate`` (benchmarks and texts, one or several models), ``bits_per_byte`` (one model on texts) and
``cloze`` (makes a benchmark from held-out documents). ``evaluate`` works in this order: ``tasks`` (what to measure),
``measure`` (lm-eval, resumable and data-parallel), ``evaluation_folder`` (what stays on disk), ``compare`` (differences
between models, as a table and a page).
"""
