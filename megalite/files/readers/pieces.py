"""Large files cut into pieces that are read independently: byte ranges of jsonl, row groups of parquet."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from megalite.files.readers.input_files import COMPRESSIONS, file_kind

READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Piece:
    """A part of a file. The pieces of a file contain each of its documents exactly once, in order."""

    path: Path
    start: int = 0
    """First byte (jsonl) or row group (parquet). A line belongs to the piece that contains its first byte."""
    end: int | None = None
    """The byte or row group after the last one; None is the end of the file."""
    size: int = 0
    """Bytes of the file in this piece, for balancing the work."""
    before: int = 0
    """Lines or rows of the file before this piece. For jsonl only ``numbered`` sets it."""


def cut(path: Path, most: int) -> list[Piece]:
    """Cuts a file into pieces of about ``most`` bytes.

    A compressed file, a text, an archive and an HTML page are one piece; a row group is never divided.
    """
    size = path.stat().st_size
    if size > most and file_kind(path) == "lines" and path.suffix not in COMPRESSIONS:
        return [Piece(path, start, min(start + most, size), min(most, size - start)) for start in range(0, size, most)]
    if size > most and file_kind(path) == "parquet":
        return _row_groups(path, most) or [Piece(path, size=size)]
    return [Piece(path, size=size)]


def numbered(pieces: list[Piece]) -> list[Piece]:
    """Sets ``before`` of the pieces of one file. A jsonl file of several pieces is read once to count its lines."""
    if len(pieces) < 2 or file_kind(pieces[0].path) != "lines":
        return pieces
    found, before = [pieces[0]], 1
    with pieces[0].path.open("rb") as file:
        for piece in pieces[1:]:  # a line begins at byte 0 and after each newline
            before += sum(block.count(b"\n") for block in _blocks(file, piece.start - 1 - file.tell()))
            found.append(replace(piece, before=before))
    return found


def line_in_file(piece: Piece, line: int) -> int:
    """Converts a line number within a jsonl piece whose ``before`` is not set; reads the file up to the piece."""
    if piece.start == 0 or piece.before or file_kind(piece.path) != "lines":
        return line
    with piece.path.open("rb") as file:
        return line + 1 + sum(block.count(b"\n") for block in _blocks(file, piece.start - 1))


def _blocks(file: IO[bytes], span: int) -> Iterator[bytes]:
    while span > 0 and (block := file.read(min(span, READ_BYTES))):
        span -= len(block)
        yield block


def _row_groups(path: Path, most: int) -> list[Piece]:
    """Groups row groups up to ``most`` bytes. Returns nothing for a damaged file; its reader reports the damage."""
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError):
        return []
    pieces: list[Piece] = []
    start = size = rows = before = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        size += sum(group.column(column).total_compressed_size for column in range(group.num_columns))
        rows += group.num_rows
        if size >= most or number + 1 == metadata.num_row_groups:
            pieces.append(Piece(path, start, number + 1, size, before))
            before += rows
            start, size, rows = number + 1, 0, 0
    return pieces
