"""Input files grouped into units of work. A unit has the same documents every time it is read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from megalite.config.errors import DataError
from megalite.config.section import Section
from megalite.files.readers.documents import Document, read_piece
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import OnError, ReadReport
from megalite.files.readers.pieces import Piece, cut, numbered

UNIT_BYTES = 64 << 20


@dataclass(frozen=True)
class InputFile:
    """An input file as it was when the run was planned."""

    path: str
    bytes: int
    modified_ns: int

    def refuse_changed(self) -> None:
        """Raises: DataError if the file is not what it was when the run was planned."""
        path = Path(self.path)
        if not path.is_file() or input_file(path) != self:
            raise DataError(f"{path}: has changed since the run began; run the command again when it is finished")


class Inputs(Section):
    """The input files of a run and how to read them."""

    files: tuple[InputFile, ...]
    pieces: tuple[Piece, ...]
    """The pieces of all files, in the order of the files."""
    text_key: str
    on_error: OnError
    unit_bytes: int
    """Consecutive pieces form a unit up to this size."""

    @cached_property
    def units(self) -> list[list[Piece]]:
        """The pieces of each unit."""
        units: list[list[Piece]] = []
        held = 0
        for piece in self.pieces:
            if not units or held + piece.size > self.unit_bytes:
                units.append([])
                held = 0
            units[-1].append(piece)
            held += piece.size
        return units

    def documents(self, unit: int, report: ReadReport) -> Iterator[tuple[int, Document]]:
        """Every document of a unit with the number of its file. Raises: DataError if a file has changed."""
        numbers = {file.path: number for number, file in enumerate(self.files)}
        for path, pieces in groupby(self.units[unit], key=lambda piece: piece.path):
            number = numbers[str(path)]
            self.files[number].refuse_changed()
            for piece in pieces:
                for document in read_piece(piece, self.text_key, self.on_error, report):
                    yield number, document


def input_file(path: Path) -> InputFile:
    """The file as it is now."""
    status = path.stat()
    return InputFile(str(path), status.st_size, status.st_mtime_ns)


def find_inputs(
    patterns: Sequence[str], text_key: str, on_error: OnError, unit_bytes: Callable[[int], int] | None = None
) -> Inputs:
    """Finds the files that globs and plain paths name, and cuts large ones into pieces.

    Args:
        unit_bytes: the size of a unit as a function of the total size of the files; ``UNIT_BYTES`` by default.

    Raises: FileNotFoundError, DataError.
    """
    paths = expand_inputs(patterns)
    files = tuple(input_file(path) for path in paths)
    size = UNIT_BYTES if unit_bytes is None else unit_bytes(sum(file.bytes for file in files))
    pieces = tuple(piece for path in paths for piece in numbered(cut(path, size)))
    return Inputs(files=files, pieces=pieces, text_key=text_key, on_error=on_error, unit_bytes=size)
