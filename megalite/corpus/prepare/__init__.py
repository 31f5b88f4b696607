"""A recipe run from end to end: sources to clean, deduplicated, shuffled shards.

In: a recipe. Out: shards, lists and a ledger, the same bytes for any number of workers and machines, and after any number of
kills. Read ``recipe``, ``plan`` (everything that decides the bytes), ``steps`` (stage, step, task), then the stages in their
order: ``filter_stage``, ``exact_stage``, ``dedup_stage``, ``decontaminate_stage``, ``shuffle_stage``, ``publish``.
"""
