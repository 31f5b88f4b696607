"""Clean text to a vocabulary that ``AutoTokenizer`` loads.

In: documents. Out: a folder with ``tokenizer.json``, its config and chat template, and a report on the design. Read
``train``, ``special_tokens``, ``report``; ``load`` opens any tokenizer folder without importing transformers,
``export`` puts one beside a model.
"""
