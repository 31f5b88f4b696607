"""Records of a piece in blocks: only the texts of the wanted keys, read fast enough for the fastest encoder."""

from collections.abc import Iterator, Sequence
from functools import partial

import orjson

from megalite.files.readers.documents import read_piece
from megalite.files.readers.input_files import file_kind
from megalite.files.readers.json_lines import parse_line, parsed_lines
from megalite.files.readers.malformed import OnError, ReadReport
from megalite.files.readers.parquet_rows import parquet_records
from megalite.files.readers.pieces import Piece

BLOCK = 4 << 20
"""Bytes of input per call of the encoder: large enough to keep it busy, small enough to bound the memory."""
Record = tuple[int, tuple[list[str], int]]
"""Line or row, then a text for each key and the size in bytes."""


class Block:
    """Consecutive records."""

    def __init__(self, keys: int) -> None:
        self.texts: list[list[str]] = [[] for _ in range(keys)]
        """For each key, one text per record."""
        self.lines: list[int] = []
        """``Document.line`` of each record; of a jsonl piece without ``before``, the line within the piece."""


def record_blocks(
    piece: Piece, keys: Sequence[str], on_error: OnError, report: ReadReport, most_bytes: int | None = None
) -> Iterator[Block]:
    """All records of a piece that have a string under every key, in order, in bounded memory.

    Args:
        most_bytes: a block ends with the record that reaches this size; ``BLOCK`` if None.

    Raises: DataError at the first malformed place if ``on_error`` is ``fatal``.
    """
    most = BLOCK if most_bytes is None else most_bytes
    block, size = Block(len(keys)), 0
    for line, (texts, record_size) in _records(piece, keys, on_error, report):
        for column, text in zip(block.texts, texts, strict=True):
            column.append(text)
        block.lines.append(line)
        size += record_size
        if size >= most:
            yield block
            block, size = Block(len(keys)), 0
    yield block


def _records(piece: Piece, keys: Sequence[str], on_error: OnError, report: ReadReport) -> Iterator[Record]:
    kind = file_kind(piece.path)
    if kind == "lines":
        return parsed_lines(piece, partial(_texts, keys), on_error, report)
    if kind == "parquet":
        rows = parquet_records(piece, keys, on_error, report, columns=list(keys))
        return ((row, _sized([record[key] for key in keys])) for row, record in rows)
    documents = read_piece(piece, keys[0], on_error, report)
    return ((document.line, _sized([document.text])) for document in documents)


def _sized(texts: list[str]) -> tuple[list[str], int]:
    return texts, sum(map(len, texts))


def _texts(keys: Sequence[str], line: bytes) -> tuple[list[str], int] | str:
    """The texts of the keys and the size of the line, or the reason why the line is malformed."""
    try:
        record = orjson.loads(line)
        texts = [record[key] for key in keys]
        for text in texts:
            if type(text) is not str:
                raise TypeError
    except (ValueError, KeyError, TypeError):  # rare: a value that orjson rejects, or a malformed line
        parsed = [parse_line(line, key) for key in keys]
        if reasons := [each for each in parsed if isinstance(each, str)]:
            return reasons[0]
        texts = [each[1] for each in parsed if not isinstance(each, str)]
    return texts, len(line)
