"""The texts of evaluation sets in jsonl, json, csv, tsv, parquet or txt files, compressed or not."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from megalite.config.errors import DataError
from megalite.files.readers.input_files import COMPRESSIONS, LINE_SUFFIXES, decompression_errors, find_files, open_bytes

SUFFIXES = (*LINE_SUFFIXES, ".csv", ".tsv", ".txt", ".parquet")


class EvalItem(NamedTuple):
    """One text of one evaluation item."""

    path: str
    item: int
    """Line, row or position in the list, counted from 1."""
    field: str
    """Path of the text in the record: ``choices.text.2`` is the third of a list of texts."""
    text: str


def find_eval_files(patterns: Sequence[str]) -> list[Path]:
    """The files that globs and plain paths name, each once. Raises: FileNotFoundError, DataError."""
    found = find_files(patterns)
    for path in found:
        if (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix not in SUFFIXES:
            raise DataError(f"{path}: unsupported file type; evaluation sets are read from {', '.join(SUFFIXES)}")
    return found


def read_eval_items(paths: Sequence[Path], keys: Sequence[str] = ()) -> Iterator[EvalItem]:
    """Every string of every record, or those under ``keys``.

    Raises: DataError if a file is damaged or of an unknown kind, since a partly read evaluation set does not protect.
    """
    for path in paths:
        count = 0
        for number, record in enumerate(read_eval_records(path), start=1):
            for field, text in _strings(record, ""):
                if not keys or field.split(".")[0] in keys:
                    count += 1
                    yield EvalItem(str(path), number, field, text)
        if count == 0:
            raise DataError(f"{path}: no text in it" + (f" under {', '.join(keys)}; check --eval_keys" if keys else ""))


def read_eval_records(path: Path) -> Iterator[Any]:
    """The records of one file, unchanged. Raises: DataError if it is damaged."""
    suffix = (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix
    if suffix == ".parquet":
        yield from _rows(path)
        return
    damaged: tuple[type[Exception], ...] = (UnicodeDecodeError, csv.Error, *decompression_errors())
    try:
        with closing(open_bytes(path)) as file:
            if suffix == ".json":
                yield from _json(path, file.read())
            elif suffix in LINE_SUFFIXES:
                for number, line in enumerate(file, start=1):
                    if not line.isspace():
                        yield _parsed(f"{path}:{number}", line)
            else:
                text = io.TextIOWrapper(file, "utf-8-sig", newline="")
                if suffix == ".txt":
                    yield {"text": text.read()}
                else:
                    yield from csv.DictReader(text, delimiter="\t" if suffix == ".tsv" else ",")
    except damaged as error:
        raise DataError(f"{path}: damaged: {error}; download the file again") from None


def _json(path: Path, content: bytes) -> Iterator[Any]:
    """A list of records, one record, or one record per line."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        for number, line in enumerate(content.splitlines(), start=1):
            if line.strip():
                yield _parsed(f"{path}:{number}", line)
        return
    yield from value if isinstance(value, list) else [value]


def _parsed(place: str, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}; an evaluation set must be complete") from None


def _rows(path: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged: {' '.join(str(error).split())}; download the file again") from None


def _strings(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field or "text", value
    elif isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            if isinstance(key, str) and " " in key:  # some sets have texts for keys
                yield field or "text", key
            yield from _strings(inner, f"{field}.{key}" if field else str(key))
