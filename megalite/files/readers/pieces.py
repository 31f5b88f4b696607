"""Large files cut into pieces that are read by themselves: byte ranges of jsonl lines, row groups of parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from megalite.files.readers.documents import COMPRESSIONS, Piece, kind_of

READ_BYTES = 1 << 22


def cut(path: Path, most: int) -> list[Piece]:
    """The file in pieces of about ``most`` bytes.

    A compressed file, a text, an archive and a page are one piece, and a row group is never divided.
    """
    size = path.stat().st_size
    if size > most and kind_of(path) == "lines" and path.suffix not in COMPRESSIONS:
        return [Piece(path, start, min(start + most, size), min(most, size - start)) for start in range(0, size, most)]
    if size > most and kind_of(path) == "parquet":
        return _row_groups(path, most) or [Piece(path, size=size)]
    return [Piece(path, size=size)]


def numbered(pieces: list[Piece]) -> list[Piece]:
    """The pieces of one file with their ``before``; a jsonl of several is read once, to count its lines."""
    if len(pieces) < 2 or kind_of(pieces[0].path) != "lines":
        return pieces
    found, before = [pieces[0]], 1
    with pieces[0].path.open("rb") as file:
        for piece in pieces[1:]:  # a line begins at byte 0 and behind each newline
            before += sum(block.count(b"\n") for block in _blocks(file, piece.start - 1 - file.tell()))
            found.append(piece._replace(before=before))
    return found


def _blocks(file: IO[bytes], span: int) -> Iterator[bytes]:
    while span > 0 and (block := file.read(min(span, READ_BYTES))):
        span -= len(block)
        yield block


def _row_groups(path: Path, most: int) -> list[Piece]:
    """Whole row groups up to ``most`` bytes; nothing where the file is damaged, which its reader will say."""
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
