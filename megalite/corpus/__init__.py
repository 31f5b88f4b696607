"""Raw text to clean text. No torch here.

``prepare`` runs a recipe from end to end. The other rooms are its parts, in the order in which a document meets them:
``sources`` (where documents come from), ``words`` (its words, split once), ``filters`` (the rules that keep or drop it),
``classify`` (trained classifiers for the filters), ``dedup`` (near-duplicates), ``decontaminate`` (evaluation items).
``ledger`` counts what was dropped and why; ``units`` passes the documents from one stage to the next.
"""
