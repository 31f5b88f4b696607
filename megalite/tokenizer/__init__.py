"""Clean text to a vocabulary that ``AutoTokenizer`` loads.

In: documents, in the proportions of a mix. Out: a folder with ``tokenizer.json`` (and sentencepiece's ``tokenizer.model``),
its config and chat template, and a report on the design. Read ``train``, ``design``, ``mix`` and ``sample``; then how it is
learnt: ``vocabulary``, ``bpe_trainers``, ``byte_level``, ``sentencepiece_model``; then ``report``, ``sweep``, ``folder``.
``load`` opens any tokenizer folder without importing transformers, ``export`` puts one beside a model.
"""
