"""Rows of a parquet file as records, for columns of any type; damaged places and rows without text are malformed."""

from collections.abc import Iterator, Sequence
from typing import Any

from megalite.config.errors import DataError, in_one_line
from megalite.config.text_files import kind_of
from megalite.files.readers.json_lines import LONGEST_LINE
from megalite.files.readers.malformed import Malformed, OnError, ReadReport
from megalite.files.readers.pieces import Piece

ROWS_AT_ONCE = 128


class Unreadable:
    """A value that Arrow can hold and Python cannot: bytes that are not UTF-8, a date in the year 12,000."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parquet_records(
    piece: Piece, keys: Sequence[str], on_error: OnError, report: ReadReport, columns: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(row, record)`` of every row with a string in each key column; rows are counted from 1.

    In other columns, a value that Python cannot hold is None.

    Args:
        columns: the columns to read; None reads all.

    Raises: DataError if a key is not a column.
    """
    import pyarrow
    from pyarrow import parquet

    path = piece.path
    try:
        file = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        report.add_malformed(Malformed(str(path), 1, f"not a parquet file: {in_one_line(error)}"), on_error)
        return
    with file:
        names = file.schema_arrow.names
        if missing := [key for key in keys if key not in names]:
            raise DataError(f"{path}: no column '{missing[0]}'; the columns are {', '.join(names[:8])}")
        group_start = piece.before
        for group in range(piece.start, file.num_row_groups if piece.end is None else piece.end):
            number = group_start
            group_start += file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False):
                    for record in _records(batch, keys):
                        number += 1
                        if reason := _wrong(record, keys):
                            report.add_malformed(Malformed(str(path), number, reason), on_error)
                        else:
                            yield number, record
            except (pyarrow.ArrowException, OSError) as error:
                reason = f"damaged from here to row {group_start}: {in_one_line(error)}"
                report.add_malformed(Malformed(str(path), number + 1, reason), on_error)


def _wrong(record: dict[str, Any], keys: Sequence[str]) -> str | None:
    for key in keys:
        value = record[key]
        if isinstance(value, Unreadable):
            return value.reason
        if not isinstance(value, str):
            return f"'{key}' holds {kind_of(value)}, not text"
    return None


def _records(batch: Any, keys: Sequence[str]) -> list[dict[str, Any]]:
    columns = {
        name: _values(column, name in keys) for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: Any, is_key: bool) -> list[Any]:
    """A column's values. One that Python cannot hold is None, or in a key column an ``Unreadable`` with the reason."""
    import pyarrow

    failures = (ValueError, OverflowError, RecursionError, pyarrow.ArrowException)  # UnicodeDecodeError is a ValueError
    if is_key and column.nbytes > LONGEST_LINE:
        return [_bounded(value) for value in column]
    try:
        return column.to_pylist()
    except failures:
        pass
    values: list[Any] = []
    for value in column:
        try:
            values.append(value.as_py())
        except failures as error:
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "not readable"
            values.append(Unreadable(f"{reason}: {in_one_line(error)}") if is_key else None)
    return values


def _bounded(value: Any) -> Any:
    import pyarrow

    try:
        buffer = value.as_buffer() if hasattr(value, "as_buffer") else None
        if buffer is not None and buffer.size > LONGEST_LINE:
            return Unreadable(f"a text of more than {LONGEST_LINE:,} bytes")
        return value.as_py()
    except UnicodeDecodeError as error:
        return Unreadable(f"not UTF-8: {error}")
    except (ValueError, OverflowError, pyarrow.ArrowException) as error:
        return Unreadable(f"not readable: {in_one_line(error)}")
