"""Quality rules: each looks at a document and gives the reason to drop it, or None.

The words of a document are split once and shared by all rules. Thresholds that come from a paper stand beside its name;
the recipe can move every one of them.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pydantic import Field, NonNegativeInt, PositiveFloat

from megalite.config.section import Section

WORD = re.compile(r"\w+(?:['’]\w+)*")
MARK = re.compile(r"[^\w\s]")
HAS_LETTER = re.compile(r"[^\W\d_]")
STOP_WORDS = frozenset("the be to of and that have with".split())
"""Gopher's eight (Rae et al. 2021, arXiv:2112.11446, table A1)."""


class FilterSettings(Section):
    """Thresholds; null turns a rule off."""

    min_words: NonNegativeInt | None = 50
    """Gopher: 50."""
    max_words: NonNegativeInt | None = 100_000
    """Gopher: 100,000."""
    min_mean_word_length: PositiveFloat | None = 3.0
    """Gopher: 3."""
    max_mean_word_length: PositiveFloat | None = 10.0
    """Gopher: 10."""
    min_stop_words: NonNegativeInt | None = 2
    """Different stop words of the eight; Gopher: 2."""
    max_token_to_word_ratio: PositiveFloat | None = 4.0
    """Pieces of text (words, numbers, single marks) for each word: tables, dumps and markup have many marks."""
    min_alphabetic_words: float | None = Field(default=0.6, ge=0.0, le=1.0)
    """Share of words with a letter in them; Gopher has 0.8 of English web text, technical prose is below it."""
    max_duplicate_lines: float | None = Field(default=0.3, ge=0.0, le=1.0)
    """Share of lines that stood before in the document; Gopher: 0.3."""
    max_duplicate_line_characters: float | None = Field(default=0.2, ge=0.0, le=1.0)
    """Share of characters in such lines; Gopher: 0.2."""


@dataclass(frozen=True)
class Text:
    """A document with what the rules share."""

    text: str

    @cached_property
    def words(self) -> list[str]:
        """Lower-cased words."""
        return WORD.findall(self.text.lower())

    @cached_property
    def marks(self) -> int:
        """Characters that are neither part of a word nor white space."""
        return len(MARK.findall(self.text))

    @cached_property
    def lines(self) -> list[str]:
        """Lines with something in them."""
        return [stripped for line in self.text.splitlines() if (stripped := line.strip())]


Rule = Callable[[Text, FilterSettings], bool]


def _few_words(text: Text, limits: FilterSettings) -> bool:
    return limits.min_words is not None and len(text.words) < limits.min_words


def _many_words(text: Text, limits: FilterSettings) -> bool:
    return limits.max_words is not None and len(text.words) > limits.max_words


def _mean_word_length(text: Text) -> float:
    return sum(map(len, text.words)) / max(1, len(text.words))


def _short_words(text: Text, limits: FilterSettings) -> bool:
    return limits.min_mean_word_length is not None and _mean_word_length(text) < limits.min_mean_word_length


def _long_words(text: Text, limits: FilterSettings) -> bool:
    return limits.max_mean_word_length is not None and _mean_word_length(text) > limits.max_mean_word_length


def _few_stop_words(text: Text, limits: FilterSettings) -> bool:
    return limits.min_stop_words is not None and len(STOP_WORDS & set(text.words)) < limits.min_stop_words


def _token_to_word_ratio(text: Text, limits: FilterSettings) -> bool:
    if limits.max_token_to_word_ratio is None:
        return False
    return (len(text.words) + text.marks) / max(1, len(text.words)) > limits.max_token_to_word_ratio


def _not_alphabetic(text: Text, limits: FilterSettings) -> bool:
    if limits.min_alphabetic_words is None:
        return False
    lettered = sum(1 for word in text.words if HAS_LETTER.search(word))
    return lettered < limits.min_alphabetic_words * len(text.words)


def _duplicate_lines(text: Text, limits: FilterSettings) -> bool:
    if limits.max_duplicate_lines is None:
        return False
    return len(text.lines) - len(set(text.lines)) > limits.max_duplicate_lines * len(text.lines)


def _duplicate_line_characters(text: Text, limits: FilterSettings) -> bool:
    if limits.max_duplicate_line_characters is None:
        return False
    repeated = sum(len(line) * (count - 1) for line, count in Counter(text.lines).items())
    return repeated > limits.max_duplicate_line_characters * len(text.text)


RULES: dict[str, Rule] = {
    "few_words": _few_words,
    "many_words": _many_words,
    "short_words": _short_words,
    "long_words": _long_words,
    "few_stop_words": _few_stop_words,
    "token_to_word_ratio": _token_to_word_ratio,
    "not_alphabetic": _not_alphabetic,
    "duplicate_lines": _duplicate_lines,
    "duplicate_line_characters": _duplicate_line_characters,
}
"""Name of the reason -> the rule, in the order in which they are asked."""


def reason_to_drop(text: Text, limits: FilterSettings) -> str | None:
    """The first rule that drops the document, or None."""
    return next((name for name, rule in RULES.items() if rule(text, limits)), None)
