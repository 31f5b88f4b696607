"""Silences the libraries that open Hugging Face folders."""

import logging


def quiet_libraries() -> None:
    """Errors only, and no progress bars for loading."""
    for name in ("torchao", "torch.utils._pytree"):  # transformers imports torchao if it is installed
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
