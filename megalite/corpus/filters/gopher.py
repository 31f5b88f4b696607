"""Gopher's rules for web text (Rae et al. 2021, arXiv:2112.11446, section A.1.1, table A1), as in datatrove."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeFloat

from megalite.config.bounds import unit
from megalite.corpus.filters.rule import CharacterCount, Filter, Rule, WordCount
from megalite.corpus.words.ngrams import DUPLICATE, TOP
from megalite.corpus.words.stop_words import StopWords, check_stop_words, count_stop_words
from megalite.corpus.words.words import Text

PARAGRAPHS = re.compile(r"\n{2,}")
LINES = re.compile(r"\n+")


def _per_word(*marks: str) -> Callable[[Text, "GopherQuality"], float]:
    return lambda text, _: sum(map(text.text.count, marks)) / max(1, len(text.numbers))


def _bullet_lines(text: Text, limits: "GopherQuality") -> float:
    lines = text.text.splitlines()
    return sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(1, len(lines))


def _ellipsis_lines(text: Text, limits: "GopherQuality") -> float:
    lines = text.text.splitlines()
    return sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(1, len(lines))


class GopherQuality(Filter):
    """Gopher's rules on length, symbols, lists and stop words; punctuation marks count as words, as in spaCy.

    Null turns a rule off. Word lengths and stop words are those of the document's language.
    """

    kind: Literal["gopher_quality"]
    min_words: WordCount | None = 50
    """Minimum number of words that are not punctuation."""
    max_words: WordCount | None = 100_000
    """Maximum number of words that are not punctuation."""
    min_mean_word_length: Annotated[NonNegativeFloat | None, unit("characters")] = 3.0
    """Minimum mean length of a word in English, shifted for other languages by the difference of their mean word
    length."""
    max_mean_word_length: Annotated[NonNegativeFloat | None, unit("characters")] = 10.0
    """Maximum mean length of a word, shifted in the same way."""
    max_hashes_per_word: NonNegativeFloat | None = 0.1
    """Maximum number of hash signs per word."""
    max_ellipses_per_word: NonNegativeFloat | None = 0.1
    """Maximum number of ellipses per word."""
    max_bullet_lines: NonNegativeFloat | None = 0.9
    """Maximum share of lines that begin with a bullet or a dash."""
    max_ellipsis_lines: NonNegativeFloat | None = 0.3
    """Maximum share of lines that end with an ellipsis."""
    min_lettered_words: NonNegativeFloat | None = 0.8
    """Minimum share of words that contain a letter, out of all words and punctuation marks."""
    min_stop_words: WordCount | None = 2
    """Minimum number of different stop words, case-sensitive."""
    stop_words: StopWords = None
    """A list for all languages, or a mapping from language to list; null uses the built-in list of the document's
    language (Gopher's for English)."""

    PREFIX: ClassVar[str] = "gopher_"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("few_words", "min_words", "below", lambda text, _: text.real_words, "count", "spaces"),
        Rule("many_words", "max_words", "above", lambda text, _: text.real_words, "count", "spaces"),
        Rule(
            "short_words",
            "min_mean_word_length",
            "below",
            lambda text, _: text.relative_word_length,
            "count",
            "word lengths",
        ),
        Rule(
            "long_words",
            "max_mean_word_length",
            "above",
            lambda text, _: text.relative_word_length,
            "count",
            "word lengths",
        ),
        Rule("hashes", "max_hashes_per_word", "above", _per_word("#"), basis="spaces"),
        Rule("ellipses", "max_ellipses_per_word", "above", _per_word("...", "…"), basis="spaces"),
        Rule("bullet_lines", "max_bullet_lines", "above", _bullet_lines),
        Rule("ellipsis_lines", "max_ellipsis_lines", "above", _ellipsis_lines),
        Rule("few_lettered_words", "min_lettered_words", "below", lambda text, _: text.lettered_share, basis="spaces"),
        Rule(
            "few_stop_words",
            "min_stop_words",
            "below",
            lambda text, own: count_stop_words(text, own.stop_words, any_case=False),
            "count",
            "spaces",
        ),
    )

    def check(self, languages: Sequence[str]) -> None:
        """Raises: ConfigError."""
        if self.min_stop_words:
            check_stop_words(self.kind, self.stop_words, languages)


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """Returns the number of parts that occurred before, and their characters."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        else:
            seen.add(part)
    return count, characters


def _repeated(
    pattern: re.Pattern[str], strip: bool, by_characters: bool
) -> Callable[[Text, "GopherRepetition"], float]:
    def score(text: Text, limits: "GopherRepetition") -> float:
        parts, count, characters = text.once(pattern, lambda: split(text.text))
        return characters / max(1, len(text.text)) if by_characters else count / parts

    def split(text: str) -> tuple[int, int, int]:
        parts = pattern.split(text.strip() if strip else text)
        return (len(parts), *duplicates(parts))

    return score


def _top(n: int) -> Callable[[Text, "GopherRepetition"], float]:
    return lambda text, _: text.ngrams.top[n] / max(1, len(text.text))


def _duplicate(n: int) -> Callable[[Text, "GopherRepetition"], float]:
    return lambda text, _: text.ngrams.duplicate[n] / max(1, len(text.text))


class GopherRepetition(Filter):
    """Gopher's rules on repeated paragraphs, lines and n-grams. Null turns a rule off."""

    kind: Literal["gopher_repetition"]
    min_characters: CharacterCount | None = 1
    """Minimum length of a document."""
    max_duplicate_paragraphs: NonNegativeFloat | None = 0.30
    """Maximum share of paragraphs that repeat an earlier one."""
    max_duplicate_paragraph_characters: NonNegativeFloat | None = 0.20
    """Maximum share of characters in such paragraphs."""
    max_duplicate_lines: NonNegativeFloat | None = 0.30
    """Maximum share of lines that repeat an earlier one."""
    max_duplicate_line_characters: NonNegativeFloat | None = 0.20
    """Maximum share of characters in such lines."""
    max_top_2_gram: NonNegativeFloat | None = 0.20
    """Maximum share of characters in the most frequent 2-gram."""
    max_top_3_gram: NonNegativeFloat | None = 0.18
    """Maximum share of characters in the most frequent 3-gram."""
    max_top_4_gram: NonNegativeFloat | None = 0.16
    """Maximum share of characters in the most frequent 4-gram."""
    max_duplicate_5_grams: NonNegativeFloat | None = 0.15
    """Maximum share of characters in 5-grams that repeat an earlier one."""
    max_duplicate_6_grams: NonNegativeFloat | None = 0.14
    """Maximum share of characters in 6-grams that repeat an earlier one."""
    max_duplicate_7_grams: NonNegativeFloat | None = 0.13
    """Maximum share of characters in 7-grams that repeat an earlier one."""
    max_duplicate_8_grams: NonNegativeFloat | None = 0.12
    """Maximum share of characters in 8-grams that repeat an earlier one."""
    max_duplicate_9_grams: NonNegativeFloat | None = 0.11
    """Maximum share of characters in 9-grams that repeat an earlier one."""
    max_duplicate_10_grams: NonNegativeFloat | None = 0.10
    """Maximum share of characters in 10-grams that repeat an earlier one."""

    PREFIX: ClassVar[str] = "gopher_"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("empty", "min_characters", "below", lambda text, _: len(text.text), "count"),
        Rule("duplicate_paragraphs", "max_duplicate_paragraphs", "above", _repeated(PARAGRAPHS, True, False)),
        Rule(
            "duplicate_paragraph_characters",
            "max_duplicate_paragraph_characters",
            "above",
            _repeated(PARAGRAPHS, True, True),
        ),
        Rule("duplicate_lines", "max_duplicate_lines", "above", _repeated(LINES, False, False)),
        Rule("duplicate_line_characters", "max_duplicate_line_characters", "above", _repeated(LINES, False, True)),
        *(Rule(f"top_{n}_gram", f"max_top_{n}_gram", "above", _top(n), basis="spaces") for n in TOP),
        *(
            Rule(f"duplicate_{n}_grams", f"max_duplicate_{n}_grams", "above", _duplicate(n), basis="spaces")
            for n in DUPLICATE
        ),
    )
