"""Turn rows into samples: split them into training and validation, encode them, and drop those that are too long."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.files.readers.malformed import refuse_malformed
from megalite.posttraining.rows.ledger import RowLedger
from megalite.posttraining.rows.read import parse_rows
from megalite.posttraining.schema import TuningRun

T = TypeVar("T")
S = TypeVar("S")
Placed = list[tuple[str, T]]
"""Items, each with the place of its row."""
Tokens = list[tuple[list[int], list[int]]]
"""``(ids, labels)`` of each sample."""


def read_samples(
    config: TuningRun, parse: Callable[[dict[str, Any]], list[T]], ledger: RowLedger
) -> tuple[Placed[T], Placed[T] | None]:
    """Return the training items, and the validation items or None.

    Raises: DataError if nothing is left, or for a broken row if ``data.on_error`` is ``fatal``.
    """
    data, report = config.data, ledger.report
    train = list(parse_rows(data.train, parse, ledger))
    valid = None if data.valid is None else list(parse_rows(data.valid, parse, ledger))
    refuse_malformed(report.documents, report.malformed, report.examples, data.max_malformed, "data.max_malformed")
    if data.valid_fraction > 0:
        drawn = [_uniform(config.run.seed, number) < data.valid_fraction for number in range(len(train))]
        valid = [item for item, is_drawn in zip(train, drawn, strict=True) if is_drawn]
        train = [item for item, is_drawn in zip(train, drawn, strict=True) if not is_drawn]
    for items, inputs in ((train, data.train), (valid, data.valid or data.train)):
        if items is not None and not items:
            raise DataError(f"{', '.join(inputs)}: no samples ({report.malformed} broken rows)")
    return train, valid


def fitting_samples(
    items: Placed[T], encode: Callable[[T], tuple[S, int]], ledger: RowLedger, console: Console, task: str
) -> list[S]:
    """Encode the items and keep the samples that are short enough.

    Args:
        encode: returns a sample and its number of tokens. Raises: ValueError if the row is broken.

    Raises: DataError with the place of the row.
    """
    kept = []
    for place, item in track(items, task, console=console, disable=not console.is_terminal, transient=True):
        try:
            sample, tokens = encode(item)
        except ValueError as error:
            ledger.add_broken(place, str(error))
            continue
        if ledger.fits(place, tokens):
            kept.append(sample)
    ledger.require(len(kept))
    return kept


def token_dataset(samples: Tokens) -> Any:
    """A ``datasets.Dataset`` with ``input_ids`` and ``labels``."""
    import datasets
    import pyarrow

    columns = zip(*samples, strict=True)
    kind = pyarrow.list_(pyarrow.int32())
    arrays = [pyarrow.array(column, type=kind) for column in columns]
    return datasets.Dataset(pyarrow.table(dict(zip(("input_ids", "labels"), arrays, strict=True))))


def pad_to_ranks(samples: Tokens, multiple: int) -> Tokens:
    """Append samples without loss until the number of samples is a multiple of ``multiple``.

    Validation then counts every token once; otherwise the data loader would repeat samples to fill the last batch.
    """
    missing = -len(samples) % multiple
    ids = samples[0][0][:2]
    return samples + [(ids, [IGNORE] * len(ids))] * missing


def _uniform(seed: int, number: int) -> float:
    """A number in [0, 1) that depends on the seed and the row's number only."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:7], "big") / 2**56
