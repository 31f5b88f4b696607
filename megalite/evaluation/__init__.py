"""How good a model is, and what it says. Works on any Hugging Face folder, ours or anybody's.

Read ``bits_per_byte`` (any text), ``evaluate`` (the command: benchmarks and texts, several models), ``lm_eval_tasks`` (what
lm-eval does of it), ``local_tasks`` (benchmarks from data files), ``journaled_lm`` (resumed, and shared over ranks),
``comparison`` (differences with paired errors), ``cloze`` (a benchmark made of held-out documents).

Text is made in ``generation`` (a continuation or a reply, in pieces) by ``generation_settings``; ``piece_stream`` is where
transformers works and tokens are counted, ``speculation`` the drafts, ``generate`` the command over all of it, with
``terminal_chat`` and ``batch_generation``; ``chat`` is a local web page (``chat_server`` behind ``chat_guard``).
``quantize`` makes a model smaller and measures what that costs.
"""
