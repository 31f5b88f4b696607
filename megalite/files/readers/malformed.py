"""What cannot be read from the input is counted and located; too much of it ends the command."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from megalite.config.errors import DataError

OnError = Literal["skip", "fatal"]
EXAMPLES_KEPT = 5
MOST_MALFORMED = 0.01
"""Share of the records by default."""
ALWAYS_ALLOWED = 3
"""By default so many are passed over where the share is less, in files of which they are not half."""


@dataclass
class ReadReport:
    """What a reader has seen."""

    documents: int = 0
    malformed: int = 0
    examples: list[str] = field(default_factory=list)
    """The first few malformed places, each with its reason."""
    remedy: str = "mend the line, or skip such lines with --on_error skip"
    """For the error at a malformed place."""

    def add_malformed(self, place: str, reason: str, on_error: OnError) -> None:
        """Count and locate. Raises: DataError where ``on_error`` is ``fatal``."""
        if on_error == "fatal":
            raise DataError(f"{place}: {reason}; {self.remedy}")
        self.malformed += 1
        if len(self.examples) < EXAMPLES_KEPT:
            self.examples.append(f"{place}: {reason}")

    def merge(self, other: "ReadReport") -> None:
        """Add another reader's counts."""
        self.documents += other.documents
        self.malformed += other.malformed
        self.examples = (self.examples + other.examples)[:EXAMPLES_KEPT]


def refuse_malformed(
    documents: int, malformed: int, examples: Sequence[str], most: float | None = None, option: str = "--max_malformed"
) -> None:
    """Refuse input of which too much could not be read.

    Args:
        documents: that were read.
        examples: places of malformed records with their reasons, the first one first.
        most: below 1 a share of all records, from 1 on a number of them; None is 1 %, or 3 records where that is more and
            they are not half of all.

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
            f"{examples[0] if examples else 'unknown'}; mend them, or raise {option}"
        )


def add_max_malformed(parser: argparse._ActionsContainer) -> None:
    """The option ``--max_malformed`` of a command that reads records."""
    parser.add_argument(
        "--max_malformed",
        type=_share_or_count,
        metavar="N",
        help="refuse the input if more records are malformed: below 1 a share of all, from 1 on a number (default: "
        f"{MOST_MALFORMED}, or {ALWAYS_ALLOWED} records where that is more)",
    )


def _share_or_count(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value < 1 or (1 <= value < math.inf and value.is_integer())):
        raise argparse.ArgumentTypeError(f"{text[:40]}: give a share below 1, or a whole number of records")
    return value
