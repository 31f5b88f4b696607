"""Compares models on the same items.

Read ``paired`` (standard errors of differences), ``comparison`` (rows of figures), then ``table`` and ``page``.
"""
