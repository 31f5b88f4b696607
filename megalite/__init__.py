"""Trains a language model, from raw text to a Hugging Face folder.

Read in this order: ``pretrain`` (the training command), ``config`` (its files), ``data`` (batches), ``model`` and
``parallel`` (the decoder and how it is split over ranks), ``training`` (the loop), ``export``.
"""

__version__ = "0.1.0"
