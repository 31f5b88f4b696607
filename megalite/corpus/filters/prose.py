"""Rules for prose of any kind, wider than the papers': documentation and technical text pass."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from megalite.corpus.filters.rule import Count, Filter, Rule
from megalite.corpus.words.stop_words import StopWords, check_stop_words, count_stop_words
from megalite.corpus.words.words import Text


def _pieces_per_word(text: Text, limits: "ProseFilter") -> float:
    marks = int(text.lengths[text.is_symbol].sum())
    return (text.real_words + marks) / max(1, text.real_words)


def _word_length(text: Text, limits: "ProseFilter") -> float:
    return text.relative_word_length


def _stop_words(text: Text, limits: "ProseFilter") -> float:
    return count_stop_words(text, limits.stop_words, any_case=True)


def _lettered_words(text: Text, limits: "ProseFilter") -> float:
    return int((text.table.has_letter[text.numbers] & ~text.is_symbol).sum()) / max(1, text.real_words)


def _duplicate_lines(text: Text, limits: "ProseFilter") -> float:
    return (len(text.lines) - len(set(text.lines))) / max(1, len(text.lines))


def _duplicate_line_characters(text: Text, limits: "ProseFilter") -> float:
    repeated = sum(len(line) * (count - 1) for line, count in Counter(text.lines).items())
    return repeated / max(1, len(text.text))


class ProseFilter(Filter):
    """Thresholds; null turns a rule off."""

    kind: Literal["prose"] = "prose"
    min_words: Count | None = 50
    """Gopher: 50."""
    max_words: Count | None = 100_000
    """Gopher: 100,000."""
    min_mean_word_length: PositiveFloat | None = 3.0
    """Gopher: 3. In another language, as many more or fewer characters as its words have on average."""
    max_mean_word_length: PositiveFloat | None = 10.0
    """Gopher: 10."""
    min_stop_words: Count | None = 2
    """Different stop words; Gopher: 2."""
    stop_words: StopWords = None
    """By default those of the document's language; a list is for all languages, a mapping for those that it names."""
    max_token_to_word_ratio: PositiveFloat | None = 4.0
    """Pieces of text (words, numbers, single marks) for each word: tables, dumps and markup have many marks."""
    min_alphabetic_words: float | None = Field(default=0.6, ge=0.0, le=1.0)
    """Share of words with a letter in them; Gopher has 0.8 of English web text, technical prose is below it."""
    max_duplicate_lines: float | None = Field(default=0.3, ge=0.0, le=1.0)
    """Share of lines that stood before in the document; Gopher: 0.3."""
    max_duplicate_line_characters: float | None = Field(default=0.2, ge=0.0, le=1.0)
    """Share of characters in such lines; Gopher: 0.2."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("few_words", "min_words", "below", lambda text, _: text.real_words, "count", "spaces"),
        Rule("many_words", "max_words", "above", lambda text, _: text.real_words, "count", "spaces"),
        Rule("short_words", "min_mean_word_length", "below", _word_length, "count", "word lengths"),
        Rule("long_words", "max_mean_word_length", "above", _word_length, "count", "word lengths"),
        Rule("few_stop_words", "min_stop_words", "below", _stop_words, "count", "spaces"),
        Rule("token_to_word_ratio", "max_token_to_word_ratio", "above", _pieces_per_word, "count", "spaces"),
        Rule("not_alphabetic", "min_alphabetic_words", "below", _lettered_words, basis="spaces"),
        Rule("duplicate_lines", "max_duplicate_lines", "above", _duplicate_lines),
        Rule("duplicate_line_characters", "max_duplicate_line_characters", "above", _duplicate_line_characters),
    )

    def check(self, languages: Sequence[str]) -> None:
        """Raises: ConfigError."""
        if self.min_stop_words:
            check_stop_words(self.kind, self.stop_words, languages)
