"""The words of a document, split once and shared by all filters.

Read ``words`` first. ``split_words`` and ``english_words`` split; ``language_model`` detects the language and
``languages`` describes it; ``stop_words`` and ``ngrams`` count; ``word_hashes`` hashes n-grams for ``dedup`` and
``decontaminate``.
"""
