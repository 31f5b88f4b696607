"""How good a model is. Works on any Hugging Face folder, ours or anybody's.

Read ``bits_per_byte`` (any text), ``evaluate`` (the command: benchmarks and texts, several models), ``lm_eval_tasks`` (what
lm-eval does of it), ``local_tasks`` (benchmarks from data files), ``journaled_lm`` (resumed, and shared over ranks),
``comparison`` (differences with paired errors), ``cloze`` (a benchmark made of held-out documents).
"""
