"""Train a tokenizer that ``AutoTokenizer`` loads, and load any tokenizer without importing transformers.

In: documents, in the proportions of a mix. Out: a folder with ``tokenizer.json`` (and sentencepiece's ``tokenizer.model``),
its config, a chat template and a design report. To train: ``train`` is the command; read ``sample``, ``learn`` and
``report``. To use: ``load`` opens a tokenizer folder (``formats``), ``chat_text`` encodes conversations, ``export`` puts a
tokenizer beside a model.
"""
