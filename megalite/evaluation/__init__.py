"""How good a model is, and what it says. Works on any Hugging Face folder, ours or anybody's.

Read ``bits_per_byte`` (any text), ``lm_eval_tasks`` (benchmarks, also from local files), ``cloze`` (a benchmark made of
held-out documents), ``generate``, ``chat`` (a local web page: ``chat_server`` behind ``chat_guard``).
"""
