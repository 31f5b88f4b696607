"""A document's words, split once and shared by all filters.

Read ``words`` first; ``split_words`` with ``english_words`` splits, ``languages`` knows what the rules need to know about a
language, ``stop_words`` and ``ngrams`` count, ``word_hashes`` hashes runs of words for ``dedup`` and ``decontaminate``.
"""
