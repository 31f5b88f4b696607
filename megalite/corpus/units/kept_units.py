"""The units that a stage kept, as the inputs of the next stage: every document with the place it was first read from."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.ledger.saved_ledger import ledger_from_json, ledger_to_json
from megalite.corpus.units.written_units import WrittenUnit, load_unit, merge_ledgers, unit_record
from megalite.files.readers.documents import Document, read_documents
from megalite.files.readers.input_units import InputFile, Inputs
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.pieces import Piece
from megalite.jobs.job import Job, Step
from megalite.jobs.notes import read_note, write_note

FIRST = "filter"
"""The stage that reads the sources. All later stages number a unit's paths as it did."""


class KeptUnits(Inputs):
    """The units of a stage as the inputs of the next; ``documents`` gives the number of each document's path."""

    folder: Path
    """The folder of the stage that kept them."""

    @cached_property
    def units(self) -> list[list[Piece]]:
        """One for each unit of the stage."""
        return [[Piece(Path(file.path))] for file in self.files]

    def documents(self, unit: int, report: ReadReport) -> Iterator[tuple[int, Document]]:
        """Every document of a unit with the number of its path. Raises: DataError if a shard is damaged."""
        written = load_unit(self.folder, unit)
        numbers = {path: number for number, path in enumerate(unit_paths(self.folder.parent, unit))}
        if written is not None:
            found, own = 0, ReadReport()
            shards = [self.folder / name for name in written.files if name.startswith("kept-")]
            for document in read_documents(shards, report=own):
                path, _, line = str(document.meta.get("place")).rpartition(":")
                if path not in numbers or not line.isdecimal():
                    break
                yield numbers[path], document._replace(path=path, line=int(line))
                found += 1
            if found == written.ledger["kept"]:
                return
        raise DataError(
            f"{self.folder}: the shards of unit {unit} are missing or damaged; remove {self.folder.parent} and run the "
            f"command again"
        )


def kept_units(folder: Path, units: int) -> KeptUnits:
    """What the stage of this folder kept."""
    names = (f"{folder}/kept-{number:05d}" for number in range(units))
    files = tuple(InputFile(name, 0, 0) for name in names)
    return KeptUnits(files=files, pieces=(), text_key="text", on_error="skip", unit_bytes=0, folder=folder)


def unit_paths(work: Path, unit: int) -> list[str]:
    """The paths that the documents of a unit came from."""
    return read_note(work / FIRST / f"paths-{unit:05d}.json", _texts)


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("not a list of paths")
    return values


def write_unit_paths(work: Path, unit: int, paths: list[str]) -> None:
    """Save them for :func:`unit_paths`."""
    write_note(work / FIRST / f"paths-{unit:05d}.json", paths)


def is_written(stage: str) -> Callable[[Job[Any], int], bool]:
    """``is_done`` for steps whose task ``n`` writes unit ``n``."""
    return lambda job, task: load_unit(job.folder / stage, task) is not None


def all_written(folder: Path, units: int, shards: bool = True) -> list[WrittenUnit]:
    """The records of all units in the folder of a stage.

    Args:
        shards: whether their files must still be there.

    Raises: DataError if one is missing.
    """
    found = []
    for number in range(units):
        written = (load_unit if shards else unit_record)(folder, number)
        if written is None:
            raise DataError(f"{folder}: unit {number} is not done or was damaged; run the command again")
        found.append(written)
    return found


def write_ledger(job: Job[Any], stage: str, ledger: Ledger) -> None:
    """Save the ledger of a stage, which marks the stage as finished."""
    write_note(job.finished_path(stage), ledger_to_json(ledger))


def read_ledger(job: Job[Any], stage: str) -> Ledger:
    """The ledger of a finished stage."""
    return read_note(job.finished_path(stage), ledger_from_json)


def is_closed(stage: str) -> Callable[[Job[Any], int], bool]:
    """``is_done`` for the step that writes the ledger of a stage."""
    return lambda job, _: job.finished_path(stage).is_file()


def closing_step(stage: str, units: int, before: str | None, *spent: str) -> Step:
    """The step that merges the ledgers of all units and removes files that are no longer needed.

    Args:
        before: the stage whose shards were read; None if these are the user's files.
        spent: patterns of this stage's own files.
    """

    def close(job: Job[Any], _: int) -> None:
        ledger = merge_ledgers(all_written(job.folder / stage, units))
        if before is not None:
            read_ledger(job, before).then(ledger)
        write_ledger(job, stage, ledger)
        if before is not None:
            remove(job.folder / before, "kept-*")
        remove(job.folder / stage, *spent)

    return Step(f"{stage}-close", 1, close, is_closed(stage))


def remove(folder: Path, *patterns: str) -> None:
    """Remove the files of these patterns."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
