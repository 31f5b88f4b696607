"""Read rows of .jsonl and .parquet files and of hub datasets as dicts, each with its place."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from megalite.config.errors import DataError, in_one_line
from megalite.files.readers.input_files import expand_inputs, file_kind
from megalite.files.readers.json_lines import parse_record, parsed_lines
from megalite.files.readers.parquet_rows import parquet_records
from megalite.files.readers.pieces import Piece
from megalite.posttraining.rows.ledger import RowLedger

T = TypeVar("T")
HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(:(?P<split>[\w\[\]:%]+))?")
FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".parquet", ".gz", ".zst", ".txt", ".csv")


class Row(NamedTuple):
    """One record and its place, ``file:line`` counted from 1."""

    place: str
    values: dict[str, Any]


def parse_rows(
    inputs: Sequence[str], parse: Callable[[dict[str, Any]], list[T]], ledger: RowLedger
) -> Iterator[tuple[str, T]]:
    """Yield ``(place, item)`` for every item that ``parse`` returns for the rows of ``inputs``.

    ``parse`` raises ValueError with the reason if a row is broken.

    Raises: DataError for a broken row if ``data.on_error`` is ``fatal``; FileNotFoundError.
    """
    for place, values in read_rows(inputs, ledger):
        try:
            items = parse(_renamed(values, ledger.data.columns))
        except ValueError as error:
            ledger.add_broken(place, str(error))
            continue
        ledger.report.documents += 1
        yield from ((place, item) for item in items)


def read_rows(inputs: Sequence[str], ledger: RowLedger) -> Iterator[Row]:
    """Yield the records of files, globs and hub datasets, in order."""
    for item in inputs:
        if (hub := HUB_NAME.fullmatch(item)) and not item.endswith(FILE_SUFFIXES) and not Path(item).exists():
            yield from _hub_rows(hub["name"], hub["split"] or "train")
            continue
        for path in expand_inputs([item]):
            kind = file_kind(path)
            if kind == "txt":
                raise DataError(f"{path}: plain text has no turns; give .jsonl (also .gz, .zst) or .parquet rows")
            if kind == "parquet":
                rows = parquet_records(Piece(path), (), ledger.data.on_error, ledger.report)
            else:
                rows = parsed_lines(Piece(path), parse_record, ledger.data.on_error, ledger.report)
            yield from (Row(f"{path}:{number}", values) for number, values in rows)


def _hub_rows(name: str, split: str) -> Iterator[Row]:
    import datasets

    try:
        rows = datasets.load_dataset(name, split=split, streaming=True)
    except Exception as error:  # the hub, the network and each dataset have exceptions of their own
        raise DataError(f"{name}: neither a file nor a readable dataset of the hub: {in_one_line(error)}") from None
    for number, values in enumerate(rows, start=1):
        yield Row(f"{name}:{split}:{number}", dict(values))


def _renamed(values: dict[str, Any], columns: dict[Any, str]) -> dict[str, Any]:
    """Give the columns our names. Raises: ValueError if a column is missing."""
    if not columns:
        return values
    for theirs in columns.values():
        if theirs not in values:
            raise ValueError(f"no column '{theirs}' (named in data.columns); the columns are {', '.join(values)}")
    return {ours: values[theirs] for ours, theirs in columns.items()}
