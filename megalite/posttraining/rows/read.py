"""Rows of jsonl, parquet and hub datasets as plain dicts, each with the place it came from."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from megalite.config.errors import DataError
from megalite.files.readers.documents import Piece, decompression_errors, expand_inputs, kind_of, open_bytes
from megalite.files.readers.json_lines import LONGEST_LINE, bounded_lines, parse_record
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.parquet_rows import parquet_records
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
    for place, values in read_rows(inputs, data, report):
        try:
            items = parse(_renamed(values, data.columns))
        except ValueError as error:
            add_broken(report, place, str(error), data)
            continue
        report.documents += 1
        yield from ((place, item) for item in items)


def add_broken(report: ReadReport, place: str, reason: str, data: RowsSection) -> None:
    """Count and locate a broken row. Raises: DataError where ``data.on_error`` is ``fatal``."""
    if data.on_error == "fatal":
        raise DataError(f"{place}: {reason}; mend the row, or leave such rows out with data.on_error=skip")
    report.add_malformed(place, reason, "skip")


def read_rows(inputs: Sequence[str], data: RowsSection, report: ReadReport) -> Iterator[Row]:
    """Every record of files, globs and hub datasets, in order."""
    for item in inputs:
        if (hub := HUB_NAME.fullmatch(item)) and not item.endswith(FILE_SUFFIXES) and not Path(item).exists():
            yield from _hub_rows(hub["name"], hub["split"] or "train")
            continue
        for path in expand_inputs([item]):
            if kind_of(path) == "txt":
                raise DataError(f"{path}: plain text has no turns; give .jsonl (also .gz, .zst) or .parquet rows")
            reader = _parquet_rows if kind_of(path) == "parquet" else _line_rows
            yield from reader(path, data, report)


def _line_rows(path: Path, data: RowsSection, report: ReadReport) -> Iterator[Row]:
    number = 0
    with closing(open_bytes(path)) as file:
        try:
            for number, line in enumerate(bounded_lines(file), start=1):
                place = f"{path}:{number}"
                if line is None:
                    add_broken(report, place, f"a line of more than {LONGEST_LINE:,} bytes", data)
                elif line and not line.isspace():
                    record = parse_record(line)
                    if isinstance(record, str):
                        add_broken(report, place, record, data)
                    else:
                        yield Row(place, record)
        except decompression_errors() as error:
            add_broken(report, f"{path}:{number + 1}", f"damaged from here on: {error}", data)


def _parquet_rows(path: Path, data: RowsSection, report: ReadReport) -> Iterator[Row]:
    seen = ReadReport()
    for number, values in parquet_records(Piece(path), (), "skip", seen):
        yield Row(f"{path}:{number}", values)
    for example in seen.examples:
        place, _, reason = example.partition(": ")
        add_broken(report, place, reason, data)
    report.malformed += seen.malformed - len(seen.examples)


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
