"""Rows become the samples of a run: read, drawn into training and validation, measured, and tokenized."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.files.readers.malformed import ReadReport, refuse_malformed
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.rows.chat import Conversation
from megalite.posttraining.rows.read import add_broken, parse_rows
from megalite.posttraining.schema import RowsSection

T = TypeVar("T")
Placed = list[tuple[str, T]]
Tokens = list[tuple[list[int], list[int]]]
"""``(ids, labels)`` of each sample."""


@dataclass
class Counts:
    """What became of the rows."""

    read: ReadReport = field(default_factory=ReadReport)
    too_long: int = 0
    spelled: int = 0
    """Special tokens that turns spell."""
    rule: str = "stayed text"
    """What they became."""
    longest: str = ""
    """The first sample that was too long."""


def read_samples(
    data: RowsSection, seed: int, parse: Callable[[dict[str, Any]], list[T]], counts: Counts
) -> tuple[Placed[T], Placed[T] | None]:
    """Training items and validation items (None without), each with its place.

    Raises: DataError for the first broken row unless they are skipped, and where nothing is left.
    """
    train = list(parse_rows(data.train, data, parse, counts.read))
    valid = None if data.valid is None else list(parse_rows(data.valid, data, parse, counts.read))
    read = counts.read
    refuse_malformed(read.documents, read.malformed, read.examples, data.max_malformed, "data.max_malformed")
    if data.valid_fraction > 0:
        drawn = [_share(seed, number) < data.valid_fraction for number in range(len(train))]
        valid = [item for item, held_out in zip(train, drawn, strict=True) if held_out]
        train = [item for item, held_out in zip(train, drawn, strict=True) if not held_out]
    for items, inputs in ((train, data.train), (valid, data.valid or data.train)):
        if items is not None and not items:
            raise DataError(f"{', '.join(inputs)}: no sample in it ({counts.read.malformed} broken rows)")
    return train, valid


def encode_samples(
    encoder: ChatEncoder, items: Placed[Conversation], data: RowsSection, counts: Counts, console: Console, what: str
) -> Tokens:
    """``(ids, labels)`` of every conversation that fits. Raises: DataError with the place."""
    fitting = []
    for place, turns in _progress(items, what, console):
        try:
            chat = encoder.encode(turns)
        except ValueError as error:
            add_broken(counts.read, place, str(error), data)
            continue
        if not fits(place, len(chat.ids), data, counts):
            continue
        counts.spelled += chat.spelled
        if any(label != IGNORE for label in chat.labels):
            fitting.append((chat.ids, chat.labels))
    if not fitting:
        raise DataError(_nothing_left(data, counts))
    return fitting


def fitting_rows(
    rows: Placed[dict[str, Any]],
    length: Callable[[dict[str, Any]], int],
    data: RowsSection,
    counts: Counts,
    console: Console,
    what: str,
) -> list[dict[str, Any]]:
    """The rows whose longest rendering has at most ``data.sequence_length`` tokens. Raises: DataError with the place."""
    kept = []
    for place, row in _progress(rows, what, console):
        try:
            tokens = length(row)
        except ValueError as error:
            add_broken(counts.read, place, str(error), data)
            continue
        if fits(place, tokens, data, counts):
            kept.append(row)
    if not kept:
        raise DataError(_nothing_left(data, counts))
    return kept


def fits(place: str, tokens: int, data: RowsSection, counts: Counts) -> bool:
    """Whether a sample is short enough; counted where not. Raises: DataError where ``too_long`` is ``refuse``."""
    if tokens <= data.sequence_length:
        return True
    if data.too_long == "refuse":
        raise DataError(
            f"{place}: {tokens} tokens, data.sequence_length is {data.sequence_length}; raise it, or leave such samples "
            f"out with data.too_long=drop"
        )
    counts.too_long += 1
    counts.longest = counts.longest or f"{place} ({tokens} tokens)"
    return False


def token_dataset(samples: Tokens) -> Any:
    """A ``datasets.Dataset`` of ``input_ids`` and ``labels``."""
    import datasets
    import pyarrow

    columns = zip(*samples, strict=True)
    kind = pyarrow.list_(pyarrow.int32())
    arrays = [pyarrow.array(column, type=kind) for column in columns]
    return datasets.Dataset(pyarrow.table(dict(zip(("input_ids", "labels"), arrays, strict=True))))


def pad_to_ranks(samples: Tokens, multiple: int) -> Tokens:
    """``samples`` and as many of them again without loss as make full batches on every rank.

    Validation then counts every token once: a loader that is out of samples would repeat some.
    """
    missing = -len(samples) % multiple
    ids = samples[0][0][:2]
    return samples + [(ids, [IGNORE] * len(ids))] * missing


def _share(seed: int, number: int) -> float:
    """A number in [0, 1) that is a function of seed and row alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:7], "big") / 2**56


def _nothing_left(data: RowsSection, counts: Counts) -> str:
    return (
        f"{', '.join(data.train)}: no sample left: {counts.too_long} are longer than data.sequence_length="
        f"{data.sequence_length} (the first is {counts.longest or 'none'}), {counts.read.malformed} are broken"
    )


def _progress(items: Sequence[T], what: str, console: Console) -> Iterable[T]:
    return track(items, description=what, console=console, disable=not console.is_terminal, transient=True)
