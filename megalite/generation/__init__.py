"""What a model says. Works on any Hugging Face folder, ours or anybody's, and on GGUF files.

Read ``settings`` and ``continuation`` (a text goes on, or a reply, in pieces), ``piece_stream`` (where transformers works
and tokens are counted), ``speculation`` (drafts and prompt look-up), then ``generate``, the command over all of it, with
``terminal_chat`` and ``batch_generation``; ``chat`` is a local web page (``chat_server`` behind ``chat_guard``).
``quantize`` makes a model smaller and measures what that costs.
"""
