"""The base of a filter: rules that score a document against a threshold, and an optional change to its text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from megalite.config.bounds import unit
from megalite.config.listed_section import ListedSection
from megalite.corpus.words.languages import ENGLISH, language
from megalite.corpus.words.words import Text

Count = Annotated[int, Field(ge=0, le=10**12)]
WordCount = Annotated[Count, unit("words")]
LineCount = Annotated[Count, unit("lines")]
CharacterCount = Annotated[Count, unit("characters")]
Basis = Literal["any language", "spaces", "sentence marks", "word lengths", "English"]


@dataclass(frozen=True)
class Rule:
    """A score of a document and the key of its threshold."""

    name: str
    key: str
    """The filter's key with the threshold; null turns the rule off."""
    drops: Literal["below", "above"]
    """A document is dropped if its score is strictly below, or above, the threshold."""
    score: Callable[[Text, Any], float]
    """Computes the score from the document and the filter; it does not depend on the thresholds."""
    scale: Literal["share", "count"] = "share"
    """How a histogram shows the score: shares linearly from 0 to 1, counts logarithmically."""
    basis: Basis = "any language"
    """The property of a language that the score requires; the rule does not judge documents in other languages."""

    def holds_for(self, code: str) -> bool:
        """Whether the rule can judge documents in the language with this code."""
        facts = language(code)
        if self.basis == "sentence marks":
            return facts.has_sentence_marks
        if self.basis == "word lengths":
            return facts.has_spaces and facts.word_length is not None
        return self.basis == "any language" or (facts.has_spaces if self.basis == "spaces" else code == ENGLISH)


class Filter(ListedSection):
    """A filter of a recipe: its thresholds, and the rules that use them. Subclasses have ``kind`` and ``RULES``."""

    kind: str
    RULES: ClassVar[tuple[Rule, ...]] = ()
    PREFIX: ClassVar[str] = ""
    """Prepended to the names of the rules."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "Filter":
        for key, most in self:
            least = getattr(self, "min_" + key.removeprefix("max_"), None) if key.startswith("max_") else None
            if least is not None and most is not None and least > most:
                raise ValueError(
                    f"min_{key.removeprefix('max_')}={least} is above {key}={most}, so no document would be kept"
                )
        return self

    @property
    def prefix(self) -> str:
        return self.PREFIX

    def check(self, languages: Sequence[str]) -> None:
        """Checks, before the work begins, everything that could fail during it.

        Args:
            languages: codes of the languages that the recipe keeps.

        Raises: ConfigError, DataError, FileNotFoundError.
        """

    def notices(self, languages: Sequence[str]) -> list[str]:
        """Returns lines that a user who keeps these languages should read."""
        return []

    def edit(self, text: Text) -> Text:
        """Returns the text for the next filter, if this one keeps the document."""
        return text
