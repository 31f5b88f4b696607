"""The ledger: counts of kept and dropped documents with reasons and examples.

``ledger`` counts, ``labels`` names a document's source and language, ``saved_ledger`` stores a ledger as JSON, and ``page``
shows it as HTML. The reasons are the names of the rules in ``filters``, and of the stages that remove duplicates.
"""
