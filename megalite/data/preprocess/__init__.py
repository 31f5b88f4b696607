"""Clean text to token ids, in parallel, killable, the same bytes for any number of workers.

Read ``plan``, ``unit`` with ``encoders``, ``encoder_check``, ``sentences`` and ``shard``, ``job``, ``join``, ``command``.
"""
