"""Exact and near-duplicate documents, found in bounded memory.

Read ``minhash`` (signatures and bands), ``lsh_index`` (on disk), ``clusters`` with ``large_cluster`` (which copy stays),
``scan`` and ``write`` (the passes over the documents), ``clustering`` (the passes between them), ``stage`` (all as a job
stage), ``command``; ``audit`` measures recall and precision.
"""
