"""Input files in units of work, read the same way however often."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from megalite.config.errors import DataError
from megalite.config.section import Section
from megalite.corpus.readers import Document, OnError, ReadReport, expand_inputs, read_documents

UNIT_BYTES = 64 << 20


class InputFile(Section):
    """A file as it was when the run began."""

    path: str
    size: int
    changed_ns: int


class Inputs(Section):
    """The files of a run, and how they are read."""

    files: tuple[InputFile, ...]
    text_key: str
    on_error: OnError
    unit_bytes: int
    """Small files are taken together up to this size; a file is never divided."""

    def units(self) -> list[range]:
        """The files' numbers in groups, each a piece of work."""
        units: list[range] = []
        held = self.unit_bytes
        for number, file in enumerate(self.files):
            if held + file.size > self.unit_bytes:
                units.append(range(number, number))
                held = 0
            units[-1] = range(units[-1].start, number + 1)
            held += file.size
        return units

    def documents(self, unit: int, report: ReadReport) -> Iterator[tuple[int, Document]]:
        """Every document of a unit with its file's number. Raises: DataError where a file is not what it was."""
        for number in self.units()[unit]:
            file = self.files[number]
            path = Path(file.path)
            if not path.is_file() or input_file(path) != file:
                raise DataError(f"{path}: has changed since the run began; run the command again when it is finished")
            for document in read_documents([path], self.text_key, self.on_error, report):
                yield number, document


def input_file(path: Path) -> InputFile:
    """The file as it is now."""
    status = path.stat()
    return InputFile(path=str(path), size=status.st_size, changed_ns=status.st_mtime_ns)


def find_inputs(patterns: Sequence[str], text_key: str, on_error: OnError) -> Inputs:
    """The files that globs and plain paths name. Raises: FileNotFoundError, DataError."""
    files = tuple(input_file(path) for path in expand_inputs(patterns))
    return Inputs(files=files, text_key=text_key, on_error=on_error, unit_bytes=UNIT_BYTES)
