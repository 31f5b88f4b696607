"""megalite: from raw text to a Hugging Face folder, and every number on the way can be checked.

Read in this order: ``pretrain`` (the front door), ``config`` (what a run is), ``data`` (tokens), ``model`` and
``parallel`` (the decoder and who holds which slice of it), ``training`` (the loop), ``export``.
"""

__version__ = "0.1.0"
