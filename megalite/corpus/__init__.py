"""Text to clean text. No torch here.

In: files (``readers``; web archives by ``web_pages``), datasets, or the documentation of the installed packages
(``installed_docs``). Out: shards of clean ``.jsonl.zst`` for training and validation, and a ledger that says what was
dropped, by which rule, with samples. Read ``recipe`` (what is asked for), ``prepare`` and the folder ``plant`` (its stages,
on one machine or many), ``rule`` and ``filters`` (what judges a document, by ``words`` that are split once), any
``filter_*``, ``ledger`` and ``ledger_page``, ``scores`` (dry runs), ``train_classifier``, ``shuffle`` (the order of the
shards). Results are written by the folder ``files``.

Two commands stand beside it. ``dedup`` removes exact and near-duplicates: ``word_hashes``, ``minhash`` (bands),
``lsh_index`` (on disk), ``duplicate_clusters`` (which copy stays), ``dedup_run`` (its steps), ``dedup_audit`` (what it is
worth). ``decontaminate`` takes out evaluation items: ``eval_items``, ``eval_index``, ``contamination``.
"""
