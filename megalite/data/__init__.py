"""Token ids on disk, samples, batches.

``index_file``, ``indexed`` and ``manifest`` are the format (Megatron's ``.bin`` / ``.idx``). ``preprocess`` makes it from
clean text, ``merge`` and ``adopt`` from other datasets. ``samples`` gives the micro-batches of any optimizer step as a pure
function of the samples consumed before it. ``inspect`` shows what is in a dataset and traces samples to their sources.
``training_data`` opens all of it for a run; ``prepare_corpus`` is the command from raw text to tokens.
"""
