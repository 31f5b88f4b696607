"""Rows of jsonl, parquet and hub datasets as plain dicts, each with the place it came from."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from megalite.config.errors import DataError
from megalite.files.readers.input_files import expand_inputs, file_kind
from megalite.files.readers.json_lines import parse_record, parsed_lines
from megalite.files.readers.malformed import Malformed, ReadReport
from megalite.files.readers.parquet_rows import parquet_records
from megalite.files.readers.pieces import Piece
from megalite.posttraining.schema import RowsSection

T = TypeVar("T")
HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(:(?P<split>[\w\[\]:%]+))?")
FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".parquet", ".gz", ".zst", ".txt", ".csv")


class Row(NamedTuple):
    """One record and where it stood, ``file:line`` counted from 1."""

    place: str
    values: dict[str, Any]


def parse_rows(
    inputs: Sequence[str], data: RowsSection, parse: Callable[[dict[str, Any]], list[T]], report: ReadReport
) -> Iterator[tuple[str, T]]:
    """``(place, item)`` for everything that ``parse`` makes of the rows of ``inputs``.

    ``parse`` raises ValueError with the reason where a row is broken. Broken rows are errors, or counted in ``report``,
    as ``data.on_error`` says.

    Raises: DataError with place and reason; FileNotFoundError.
    """
    report.remedy = "fix the row, or skip such rows with data.on_error=skip"
    for place, values in read_rows(inputs, data, report):
        try:
            items = parse(_renamed(values, data.columns))
        except ValueError as error:
            add_broken(report, place, str(error), data)
            continue
        report.documents += 1
        yield from ((place, item) for item in items)


def add_broken(report: ReadReport, place: str, reason: str, data: RowsSection) -> None:
    """Counts a broken row. Raises: DataError if ``data.on_error`` is ``fatal``."""
    path, _, line = place.rpartition(":")
    report.add_malformed(Malformed(path, int(line), reason), data.on_error)


def read_rows(inputs: Sequence[str], data: RowsSection, report: ReadReport) -> Iterator[Row]:
    """Every record of files, globs and hub datasets, in order."""
    for item in inputs:
        if (hub := HUB_NAME.fullmatch(item)) and not item.endswith(FILE_SUFFIXES) and not Path(item).exists():
            yield from _hub_rows(hub["name"], hub["split"] or "train")
            continue
        for path in expand_inputs([item]):
            kind = file_kind(path)
            if kind == "txt":
                raise DataError(f"{path}: plain text has no turns; give .jsonl (also .gz, .zst) or .parquet rows")
            if kind == "parquet":
                rows = parquet_records(Piece(path), (), data.on_error, report)
            else:
                rows = parsed_lines(Piece(path), parse_record, data.on_error, report)
            yield from (Row(f"{path}:{number}", values) for number, values in rows)


def _hub_rows(name: str, split: str) -> Iterator[Row]:
    import datasets

    try:
        rows = datasets.load_dataset(name, split=split, streaming=True)
    except Exception as error:  # the hub, the network and the dataset each have their own exceptions
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: no such file, and no dataset of the hub that can be read now: {reason}") from None
    for number, values in enumerate(rows, start=1):
        yield Row(f"{name}:{split}:{number}", dict(values))


def _renamed(values: dict[str, Any], columns: dict[Any, str]) -> dict[str, Any]:
    """The row under our names of its columns. Raises: ValueError where a named column is not there."""
    if not columns:
        return values
    for theirs in columns.values():
        if theirs not in values:
            raise ValueError(f"no column '{theirs}' (data.columns asks for it); the columns are {', '.join(values)}")
    return {ours: values[theirs] for ours, theirs in columns.items()}
