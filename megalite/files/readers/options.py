"""How a command reads its input files, and the options on the command line that say so."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from megalite.files.readers.malformed import OnError, add_max_malformed


@dataclass(frozen=True)
class ReadOptions:
    """The defaults of all commands."""

    text_key: str = "text"
    """The key (jsonl) or column (parquet) with the text."""
    on_error: OnError = "skip"
    """What a malformed record does."""
    max_malformed: float | None = None
    """Malformed records that are accepted: below 1 a share, from 1 a number; None for the default of 1 %."""


def add_read_options(parser: ArgumentParser) -> None:
    """Add ``--text_key``, ``--on_error`` and ``--max_malformed``."""
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    parser.add_argument(
        "--on_error", choices=("skip", "fatal"), default="skip", help="skip malformed records, or stop at the first"
    )
    add_max_malformed(parser)


def read_options(arguments: Namespace) -> ReadOptions:
    """The values of :func:`add_read_options`."""
    return ReadOptions(arguments.text_key, arguments.on_error, arguments.max_malformed)
