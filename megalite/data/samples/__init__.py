"""Samples of a run, each a pure function of the files, the seed and its number.

Read ``permutation``, ``gpt_dataset`` (one source), ``proportional``, ``blend`` and ``epochs`` (several), ``loader``
(micro-batches), ``history`` and ``fingerprint`` (what a resumed run must agree with).
"""
