"""The corpus plant: a recipe's text stages, cut into tasks that any process of any machine can do.

In: a recipe. Out: the shards, lists and ledger of ``tools/prepare_corpus.py``, the same bytes whoever does the tasks, and
wherever they were killed before. Read ``plan`` (what decides the bytes), ``steps`` (stage, step, task), ``kept_units``
(how a stage reads what the one before kept), then the stages in their order: ``filter_stage``, ``exact_stage``,
``dedup_stage``, ``decontaminate_stage``, ``shuffle_stage``, ``publish``; ``stages`` lists them. ``engine`` does them on this
machine, ``ray_pool`` on a Ray cluster, ``slurm_scripts`` writes them down for Slurm; ``run_task`` is one task.
"""
