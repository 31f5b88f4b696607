"""Input files in units of work, read the same way however often."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path

from megalite.config.errors import DataError
from megalite.config.section import Section
from megalite.files.readers.documents import Document, OnError, Piece, ReadReport, expand_inputs, read_piece
from megalite.files.readers.pieces import cut, numbered

UNIT_BYTES = 64 << 20


class InputFile(Section):
    """A file as it was when the run began."""

    path: str
    size: int
    changed_ns: int


class FilePiece(Section):
    """A piece of a file, as ``readers.Piece`` has it."""

    file: int
    """The number of the file."""
    start: int
    end: int | None
    size: int
    before: int


class Inputs(Section):
    """The files of a run, and how they are read."""

    files: tuple[InputFile, ...]
    pieces: tuple[FilePiece, ...]
    """Of all files, in their order."""
    text_key: str
    on_error: OnError
    unit_bytes: int
    """Pieces are taken together up to this size."""

    @cached_property
    def units(self) -> list[list[FilePiece]]:
        """Pieces in groups, each a piece of work."""
        units: list[list[FilePiece]] = []
        held = 0
        for piece in self.pieces:
            if not units or held + piece.size > self.unit_bytes:
                units.append([])
                held = 0
            units[-1].append(piece)
            held += piece.size
        return units

    def documents(self, unit: int, report: ReadReport) -> Iterator[tuple[int, Document]]:
        """Every document of a unit with its file's number. Raises: DataError where a file is not what it was."""
        for number, pieces in groupby(self.units[unit], key=lambda piece: piece.file):
            file = self.files[number]
            path = Path(file.path)
            if not path.is_file() or input_file(path) != file:
                raise DataError(f"{path}: has changed since the run began; run the command again when it is finished")
            for piece in pieces:
                whole = Piece(path, piece.start, piece.end, piece.size, piece.before)
                for document in read_piece(whole, self.text_key, self.on_error, report):
                    yield number, document


def input_file(path: Path) -> InputFile:
    """The file as it is now."""
    status = path.stat()
    return InputFile(path=str(path), size=status.st_size, changed_ns=status.st_mtime_ns)


def find_inputs(
    patterns: Sequence[str], text_key: str, on_error: OnError, unit_bytes: Callable[[int], int] | None = None
) -> Inputs:
    """The files that globs and plain paths name, large ones cut.

    Args:
        unit_bytes: gives the size of a unit for the size of all files; ``UNIT_BYTES`` by default.

    Raises: FileNotFoundError, DataError.
    """
    paths = expand_inputs(patterns)
    files, pieces = [input_file(path) for path in paths], []
    size = UNIT_BYTES if unit_bytes is None else unit_bytes(sum(file.size for file in files))
    for number, path in enumerate(paths):
        for piece in numbered(cut(path, size)):
            pieces.append(
                FilePiece(file=number, start=piece.start, end=piece.end, size=piece.size, before=piece.before)
            )
    return Inputs(files=tuple(files), pieces=tuple(pieces), text_key=text_key, on_error=on_error, unit_bytes=size)
