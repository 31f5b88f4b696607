"""Generates text with any Hugging Face folder or GGUF file.

Read ``settings`` (how tokens are chosen), ``text_model`` (a model, its tokenizer and perhaps a draft), ``stream`` (the call
of transformers, token by token), ``text_pieces`` (tokens to text) and ``continuation`` (prompts and conversations). Three
commands stand on them: ``generate`` (with ``terminal_chat``, ``batch_generation`` and ``speculation``), ``chat`` (a local
web page, in ``web_chat``) and ``quantize`` (a smaller model, measured before and after).
"""
