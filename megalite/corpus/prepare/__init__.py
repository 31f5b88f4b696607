"""A recipe run from end to end: sources to clean, deduplicated, shuffled shards.

In: a recipe. Out: shards, lists and a ledger, the same bytes for any number of workers and machines, and after any number of
kills. Read ``recipe``, ``plan`` (everything that decides the bytes), ``stages`` (their order; ``filter_stage``,
``exact_stage``, ``shuffle_stage`` and ``publish`` are here, the others in ``dedup`` and ``decontaminate``), ``prepare``,
``dry_run``.
"""
