"""Keeps documents by their language."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from megalite.config.bounds import unit
from megalite.config.errors import ConfigError
from megalite.corpus.filters.rule import Filter, Rule
from megalite.corpus.words.language_model import SAMPLE, known_languages
from megalite.corpus.words.words import Text


def _share_of_kept(text: Text, own: "LanguageFilter") -> float:
    found = text.languages_in(own.sample_characters)
    return sum(found.get(code, 0.0) for code in own.keep)


class LanguageFilter(Filter):
    """Keeps documents in the given languages."""

    kind: Literal["language"]
    keep: tuple[str, ...] = Field(min_length=1, max_length=200)
    """ISO 639 codes of the languages to keep: en, de, zh ..."""
    min_probability: float | None = Field(default=0.65, ge=0.0, le=1.0)
    """Minimum probability of all ``keep`` languages together. FineWeb: 0.65."""
    sample_characters: Annotated[int, unit("characters")] = Field(default=SAMPLE, ge=1, le=10**6)
    """Characters of a document that the language model reads."""

    RULES: ClassVar[tuple[Rule, ...]] = (Rule("language", "min_probability", "below", _share_of_kept),)

    def check(self, languages: Sequence[str]) -> None:
        """Raises: ConfigError if a code is unknown to the model or listed twice."""
        known = known_languages()
        for code in self.keep:
            if self.keep.count(code) > 1:
                raise ConfigError(f"filters: language keep '{code}' is listed twice; remove one")
            if code not in known:
                raise ConfigError(
                    f"filters: language keep '{code}': not a code of the model; it knows {' '.join(known)}"
                )
