"""Libraries that say less while a Hugging Face folder is opened."""

import logging


def quiet_libraries() -> None:
    """Errors only, and no bars for loading a model or a file: those take no time."""
    for name in ("torchao", "torch.utils._pytree"):  # where torchao is installed, transformers imports it
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
