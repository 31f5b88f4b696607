"""Rules for prose of any kind, wider than those of the papers, so that technical text passes."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from megalite.config.bounds import unit
from megalite.corpus.filters.rule import Filter, Rule, WordCount
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
    """Gopher's rules with wider thresholds, so that documentation and technical text pass. Null turns a rule off."""

    kind: Literal["prose"] = "prose"
    min_words: WordCount | None = 50
    """Minimum number of words. Gopher: 50."""
    max_words: WordCount | None = 100_000
    """Maximum number of words. Gopher: 100,000."""
    min_mean_word_length: Annotated[PositiveFloat | None, unit("characters")] = 3.0
    """Minimum mean length of a word in English, shifted for other languages by the difference of their mean word
    length. Gopher: 3."""
    max_mean_word_length: Annotated[PositiveFloat | None, unit("characters")] = 10.0
    """Maximum mean length of a word, shifted in the same way. Gopher: 10."""
    min_stop_words: WordCount | None = 2
    """Minimum number of different stop words. Gopher: 2."""
    stop_words: StopWords = None
    """A list for all languages, or a mapping from language to list; null uses the built-in list of the document's
    language."""
    max_token_to_word_ratio: PositiveFloat | None = 4.0
    """Maximum number of pieces of text (words, numbers, punctuation marks) per word. Tables, dumps and markup have
    many marks."""
    min_alphabetic_words: float | None = Field(default=0.6, ge=0.0, le=1.0)
    """Minimum share of words that contain a letter. Gopher uses 0.8, which technical prose does not reach."""
    max_duplicate_lines: float | None = Field(default=0.3, ge=0.0, le=1.0)
    """Maximum share of lines that repeat an earlier line. Gopher: 0.3."""
    max_duplicate_line_characters: float | None = Field(default=0.2, ge=0.0, le=1.0)
    """Maximum share of characters in such lines. Gopher: 0.2."""

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
