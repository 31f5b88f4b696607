"""How good a model is, and what it says. Works on any Hugging Face folder, ours or anybody's.

Read ``bits_per_byte`` (any text), ``lm_eval_tasks`` (benchmarks, also from local files), ``cloze`` (a benchmark made of
held-out documents), ``chat`` (a local web page: ``chat_server`` behind ``chat_guard``).

Text is made in ``generation`` (a continuation or a reply, in pieces) by ``generation_settings``; ``piece_stream`` is where
transformers works and tokens are counted, ``speculation`` the drafts, ``generate`` the command over all of it, with
``terminal_chat`` and ``batch_generation``. ``quantize`` makes a model smaller and measures what that costs.
"""
