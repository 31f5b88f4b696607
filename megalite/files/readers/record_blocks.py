"""Records of a piece in blocks: only the texts under the wanted keys, read as fast as the fastest encoder wants them."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from megalite.config.errors import DataError
from megalite.files.readers.documents import (
    Piece,
    decompression_errors,
    kind_of,
    open_bytes,
    read_piece,
)
from megalite.files.readers.json_lines import LONGEST_LINE, bounded_lines, parse_line
from megalite.files.readers.malformed import EXAMPLES_KEPT, OnError, ReadReport
from megalite.files.readers.parquet_rows import parquet_records

BLOCK = 4 << 20
"""Bytes of input for one call of the encoder: enough to keep it busy, little enough for the memory."""


@dataclass
class PieceReport:
    """What was seen in a piece."""

    lines: int = 0
    malformed: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    """(line within the piece, reason) of the first few malformed places; line 0 where the reason names the place."""


class Block:
    """Records that follow each other."""

    def __init__(self, keys: int, most_bytes: int) -> None:
        """Empty."""
        self.texts: list[list[str]] = [[] for _ in range(keys)]
        """For each key, one text a record."""
        self.lines: list[int] = []
        """Of each record: the line within the piece, or what ``Document.line`` says for files without lines."""
        self.bytes = 0
        self.most_bytes = most_bytes

    def add(self, texts: Sequence[str], line: int, size: int) -> bool:
        """Append a record. True when the block is large enough."""
        for column, text in zip(self.texts, texts, strict=True):
            column.append(text)
        self.lines.append(line)
        self.bytes += size
        return self.bytes >= self.most_bytes


def record_blocks(
    piece: Piece, keys: Sequence[str], on_error: OnError, report: PieceReport, most_bytes: int | None = None
) -> Iterator[Block]:
    """All records of a piece that have a string under every key, in order, in bounded memory.

    Args:
        most_bytes: a block is complete with the record that reaches them; ``BLOCK`` where None.

    Raises: DataError at the first malformed place where ``on_error`` is ``fatal``.
    """
    read = _line_blocks if kind_of(piece.path) == "lines" else _other_blocks
    return read(piece, keys, on_error, report, BLOCK if most_bytes is None else most_bytes)


def _line_blocks(
    piece: Piece, keys: Sequence[str], on_error: OnError, report: PieceReport, most_bytes: int
) -> Iterator[Block]:
    block = Block(len(keys), most_bytes)
    with closing(open_bytes(piece.path)) as file:
        try:
            for line in bounded_lines(file, piece.start, piece.end):
                report.lines += 1
                if line is None:
                    _malformed(piece, on_error, report, f"a line of more than {LONGEST_LINE:,} bytes")
                    continue
                texts = _texts(line, keys)
                if isinstance(texts, str):
                    if line and not line.isspace():
                        _malformed(piece, on_error, report, texts)
                elif block.add(texts, report.lines, len(line)):
                    yield block
                    block = Block(len(keys), most_bytes)
        except decompression_errors() as error:
            report.lines += 1
            _malformed(piece, on_error, report, f"damaged from here on: {error}")
    yield block


def _texts(line: bytes, keys: Sequence[str]) -> list[str] | str:
    """What stands under the keys, or the reason why the line is malformed."""
    try:
        record = orjson.loads(line)
        texts = [record[key] for key in keys]
        for text in texts:
            if type(text) is not str:
                raise TypeError
    except (ValueError, KeyError, TypeError):  # rare: a value that orjson refuses, or a malformed line
        parsed = [parse_line(line, key) for key in keys]
        reasons = [each for each in parsed if isinstance(each, str)]
        return reasons[0] if reasons else [each[1] for each in parsed if not isinstance(each, str)]
    return texts


def _other_blocks(
    piece: Piece, keys: Sequence[str], on_error: OnError, report: PieceReport, most_bytes: int
) -> Iterator[Block]:
    """Row groups of a parquet file; a text, an archive or a page, which have no keys."""
    seen = ReadReport()
    block = Block(len(keys), most_bytes)
    if kind_of(piece.path) == "parquet":
        rows = parquet_records(piece, keys, on_error, seen, columns=list(keys))
        records = (([row[key] for key in keys], number) for number, row in rows)
    else:
        documents = read_piece(piece, keys[0], on_error, seen)
        records = (([document.text], document.line) for document in documents)
    for texts, line in records:
        if block.add(texts, line, sum(map(len, texts))):
            yield block
            block = Block(len(keys), most_bytes)
    yield block
    report.malformed = seen.malformed
    report.examples = [(0, example) for example in seen.examples]


def _malformed(piece: Piece, on_error: OnError, report: PieceReport, reason: str) -> None:
    if on_error == "fatal":
        place = place_of(piece, report.lines)
        raise DataError(f"{place}: {reason}; mend the line, or skip such lines with --on_error skip")
    report.malformed += 1
    if len(report.examples) < EXAMPLES_KEPT:
        report.examples.append((report.lines, reason))


def place_of(piece: Piece, line: int) -> str:
    """``path:line`` of a record of a block, counted over the whole file, which is read once more for that."""
    if kind_of(piece.path) == "lines":
        line += _lines_before(piece.path, piece.start)
    return f"{piece.path}:{line}"


def _lines_before(path: Path, start: int) -> int:
    """Lines that begin before byte ``start``."""
    count, position = 0, 0
    with path.open("rb") as file:
        while position < start and (block := file.read(min(1 << 24, start - position))):
            count += block.count(b"\n")
            position += len(block)
            if position == start and not block.endswith(b"\n"):
                count += 1
    return count
