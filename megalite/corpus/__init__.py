"""Raw text to clean text. No torch here.

``prepare`` runs a recipe from end to end. The other rooms are its parts, in the order in which a document meets them:
``sources`` (where documents come from), ``words`` (a document's words, split once), ``filters`` (the rules that keep or drop
it), ``classify`` (learned rules), ``dedup`` (near-duplicates), ``decontaminate`` (evaluation items); ``ledger`` counts what
was dropped and why, and ``units`` is how one stage hands its documents to the next.
"""
