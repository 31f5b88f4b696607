"""Tokens to samples to batches.

In: clean text and a tokenizer (``preprocess``), or finished ``PREFIX.bin`` / ``.idx`` files in Megatron's format. Out: the
micro-batches of any optimizer step as a pure function of the samples consumed before it. Read ``index_file`` (the format),
``indexed`` (reading), ``manifest``, ``preprocess`` with ``preprocess_plan``, ``preprocess_workers``, ``preprocess_unit``
(``record_blocks``, ``sentences``, ``encoders``, ``encoder_check``, ``shard``) and ``preprocess_join``, then ``permutation``,
``gpt_dataset``, ``proportional``, ``blend``, ``epochs``, ``history``, ``fingerprint``, ``loader``;
``prepare`` opens all of it for a run, and ``prepare_corpus`` is the one command from raw text to all of it.
``inspect_data`` looks into it: ``statistics``, ``sample_view``, ``trace``.
"""
