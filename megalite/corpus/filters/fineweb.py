"""FineWeb's own rules (Penedo et al. 2024, arXiv:2406.17557, section 3.6), as in datatrove."""

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat

from megalite.corpus.filters.gopher import duplicates
from megalite.corpus.filters.rule import CharacterCount, Filter, LineCount, Rule
from megalite.corpus.words.punctuation import LINE_END
from megalite.corpus.words.words import Text

LINE_ENDS = tuple(sorted(LINE_END))


def _lines(text: Text) -> list[str]:
    return text.once("fineweb_lines", lambda: [line for line in text.text.split("\n") if line.strip()])


def _ended_lines(text: Text, limits: "FineWebQuality") -> float:
    lines = _lines(text)
    return sum(line.endswith(LINE_ENDS) for line in lines) / max(1, len(lines))


def _short_lines(text: Text, limits: "FineWebQuality") -> float:
    lines = _lines(text)
    return sum(len(line) <= limits.short_line for line in lines) / max(1, len(lines))


def _duplicate_characters(text: Text, limits: "FineWebQuality") -> float:
    return duplicates(_lines(text))[1] / max(1, len(text.text) - text.text.count("\n"))


class FineWebQuality(Filter):
    """FineWeb's rules on line endings, short lines, repeated lines and lists. Null turns a rule off."""

    kind: Literal["fineweb_quality"]
    min_lines: LineCount | None = 1
    """Minimum number of lines that are not empty."""
    min_ended_lines: NonNegativeFloat | None = 0.12
    """Minimum share of lines that end with a full stop, question mark or exclamation mark."""
    max_short_lines: NonNegativeFloat | None = 0.67
    """Maximum share of lines of at most ``short_line`` characters."""
    short_line: CharacterCount = 30
    """Length up to which a line is short."""
    max_duplicate_line_characters: NonNegativeFloat | None = 0.01
    """Maximum share of characters in lines that repeat an earlier line; line breaks are not counted."""
    max_line_breaks_per_word: NonNegativeFloat | None = 0.3
    """Maximum number of line breaks per word; lists have many."""

    PREFIX: ClassVar[str] = "fineweb_"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("empty", "min_lines", "below", lambda text, _: len(_lines(text)), "count"),
        Rule("few_ended_lines", "min_ended_lines", "below", _ended_lines, basis="sentence marks"),
        Rule("short_lines", "max_short_lines", "above", _short_lines, basis="spaces"),
        Rule("duplicate_line_characters", "max_duplicate_line_characters", "above", _duplicate_characters),
        Rule(
            "line_breaks",
            "max_line_breaks_per_word",
            "above",
            lambda text, _: text.text.count("\n") / max(1, len(text.numbers)),
            basis="spaces",
        ),
    )
