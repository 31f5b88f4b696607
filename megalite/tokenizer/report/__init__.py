"""Measure how well a vocabulary fits its text, and show it: a table, JSON and an HTML page."""
