"""The filters that keep or drop a document. A filter is one module here and one line in ``chain``.

Read ``rule`` (the base of a filter) and ``chain`` (which applies the filters in order and gives the reasons), then any
filter. The names of the rules are the reasons in the ledger.
"""
