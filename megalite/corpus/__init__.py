"""Text to clean text. No torch here.

In: files (``readers``) or the documentation of the installed packages (``installed_docs``). Out: shards of clean
``.jsonl.zst`` for training and validation, and a ledger that says what was dropped, by which rule, with samples. Read
``recipe`` (what is asked for), ``prepare`` (the one pass that does it), ``filters`` (the rules), ``ledger``, ``shuffle``
(the order of the shards), ``whole_folder`` (how results appear).
"""
