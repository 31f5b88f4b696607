"""Keeps or drops documents by a classifier from ``tools/train_classifier.py``: toxicity, quality, spam."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from megalite.config.errors import ConfigError
from megalite.config.section import OneLine
from megalite.corpus.classify.classifier import Classifier, load_classifier
from megalite.corpus.filters.rule import Filter, Rule
from megalite.corpus.words.languages import ENGLISH
from megalite.corpus.words.words import Text


@cache
def _classifier(path: str) -> Classifier:
    return load_classifier(Path(path))


class ClassifierFilter(Filter):
    """The calibrated probability of a classifier from ``tools/train_classifier.py``. Null turns a bound off."""

    kind: Literal["classifier"]
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    """What the classifier detects; its rules are called ``NAME_high`` and ``NAME_low``."""
    model: OneLine
    """Path of the classifier's .safetensors file."""
    languages: tuple[str, ...] | None = None
    """Languages that it was trained on; documents in other languages are not judged. Required if the recipe keeps
    more than English."""
    max_probability: float | None = Field(default=None, ge=0.0, le=1.0)
    """Maximum probability, for what is unwanted (toxicity, spam)."""
    min_probability: float | None = Field(default=None, ge=0.0, le=1.0)
    """Minimum probability, for what is wanted (quality)."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("high", "max_probability", "above", lambda text, own: own.probability(text)),
        Rule("low", "min_probability", "below", lambda text, own: own.probability(text)),
    )

    @property
    def prefix(self) -> str:
        return self.name + "_"

    def probability(self, text: Text) -> float:
        """The probability of the positive class; NaN for a language that the classifier was not trained on."""
        if self.languages is not None and text.language not in self.languages:
            return math.nan
        return text.once(id(self), lambda: _classifier(self.model).probability(text.text))

    def check(self, languages: Sequence[str]) -> None:
        """Raises: FileNotFoundError, DataError; ConfigError if it might judge languages that it was not trained on."""
        if self.languages is None and any(code != ENGLISH for code in languages):
            raise ConfigError(
                f"filters: classifier '{self.name}': the recipe keeps {', '.join(languages)}; list under languages those "
                f"that it was trained on; it does not judge documents in others"
            )
        _classifier(self.model)
