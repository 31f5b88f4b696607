"""The rules that keep or drop a document. A filter is one module here and one line in ``chain``.

Read ``rule`` (what a filter is), ``chain`` (filters applied one after the other, with reasons), then any filter.
"""
