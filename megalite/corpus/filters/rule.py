"""What a filter is: named numbers of a document, each with a threshold, and maybe a change to its text."""

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
    """A number of a document and the key of the threshold it is held against."""

    name: str
    key: str
    """The filter's key that holds the threshold; a null there turns the rule off."""
    drops: Literal["below", "above"]
    """A document is dropped where its number is strictly below, or above, the threshold."""
    score: Callable[[Text, Any], float]
    """The number, from the document and the filter; the same whatever the thresholds are."""
    scale: Literal["share", "count"] = "share"
    """How a histogram shows it: shares on a line from 0 to 1, counts by their logarithm."""
    basis: Basis = "any language"
    """What a language must have for the number to mean something; documents in others are not judged by the rule."""

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
    """Put before the rules' names, so that a name says whose rule it is."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "Filter":
        for key, most in self:
            least = getattr(self, "min_" + key.removeprefix("max_"), None) if key.startswith("max_") else None
            if least is not None and most is not None and least > most:
                raise ValueError(
                    f"min_{key.removeprefix('max_')}={least} is above {key}={most}, so nothing would be left"
                )
        return self

    @property
    def prefix(self) -> str:
        """The prefix of this filter's rules."""
        return self.PREFIX

    def check(self, languages: Sequence[str]) -> None:
        """Find out before the work begins what would fail in it.

        Args:
            languages: codes of those that the recipe keeps.

        Raises: ConfigError, DataError, FileNotFoundError.
        """

    def notices(self, languages: Sequence[str]) -> list[str]:
        """What a user who keeps these languages should know of the filter, a line each."""
        return []

    def edit(self, text: Text) -> Text:
        """The text as it goes on if the filter keeps it."""
        return text
