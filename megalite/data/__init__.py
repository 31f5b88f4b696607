"""Token ids on disk, training samples and batches.

``index_file``, ``indexed`` and ``manifest`` are the format (Megatron's ``.bin`` / ``.idx``). ``preprocess`` creates it from
clean text, ``merge`` and ``adopt`` from other datasets. ``samples`` gives the micro-batches of any optimizer step as a pure
function of the number of consumed samples. ``inspect`` shows the content of a dataset and traces samples to their sources.
``training_data`` opens the datasets of a run; ``prepare_corpus`` and ``corpus_tokens`` go from raw text to tokens.
"""
