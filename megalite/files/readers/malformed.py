"""Malformed input: readers count it and report where it is; too much of it ends the command."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from megalite.config.errors import DataError

OnError = Literal["skip", "fatal"]
EXAMPLES_KEPT = 5
MOST_MALFORMED = 0.01
"""Default limit as a share of all records."""
ALWAYS_ALLOWED = 3
"""Default limit as a number of records, for small inputs: it applies if they are less than half of all records."""


class Malformed(NamedTuple):
    """A malformed line, row or record."""

    path: str
    line: int
    """Counted from 1."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class ReadReport:
    """Counts of what a reader has read, and the first malformed places."""

    documents: int = 0
    malformed: int = 0
    lines: int = 0
    """Lines of jsonl, including blank and malformed ones."""
    places: list[Malformed] = field(default_factory=list)
    remedy: str = "fix the line, or skip such lines with --on_error skip"
    """How the error for a malformed place ends."""

    @property
    def examples(self) -> list[str]:
        """The first malformed places as text."""
        return [str(place) for place in self.places]

    def add_malformed(self, place: Malformed, on_error: OnError) -> None:
        """Counts a malformed place. Raises: DataError if ``on_error`` is ``fatal``."""
        if on_error == "fatal":
            raise DataError(f"{place}; {self.remedy}")
        self.malformed += 1
        if len(self.places) < EXAMPLES_KEPT:
            self.places.append(place)


def refuse_malformed(
    documents: int, malformed: int, examples: Sequence[str], most: float | None = None, option: str = "--max_malformed"
) -> None:
    """Refuses input with too many malformed records.

    Args:
        documents: number of records that were read.
        examples: malformed places with their reasons, the first one first.
        most: the limit; below 1 a share of all records, from 1 on a number of records. None is 1 %, or 3 records if that
            is more and they are less than half of all records.

    Raises: DataError with both numbers and the first example.
    """
    total = documents + malformed
    if most is None:
        allowed = max(MOST_MALFORMED * total, min(ALWAYS_ALLOWED, (total - 1) // 2))
    else:
        allowed = most * total if most < 1 else most
    if malformed > allowed:
        raise DataError(
            f"{malformed:,} of {total:,} records are malformed, and {option} allows {int(allowed):,}; the first: "
            f"{examples[0] if examples else 'unknown'}; fix them, or raise {option}"
        )


def add_max_malformed(parser: argparse._ActionsContainer) -> None:
    """Adds the option ``--max_malformed`` to a command that reads records."""
    parser.add_argument(
        "--max_malformed",
        type=_share_or_count,
        metavar="N",
        help="refuse the input if more records than this are malformed: a share if below 1, else a number (default: "
        f"{MOST_MALFORMED}, or {ALWAYS_ALLOWED} records if that is more)",
    )


def _share_or_count(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value < 1 or (1 <= value < math.inf and value.is_integer())):
        raise argparse.ArgumentTypeError(f"{text[:40]}: give a share below 1, or a whole number of records")
    return value
