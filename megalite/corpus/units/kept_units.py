"""How a stage reads what the one before has kept: unit by unit, every document with the place where it first stood."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.prepare.steps import Job, Step, books_path, read_books, write_books
from megalite.corpus.units.unit_books import Written, merge_ledgers, noted_unit, remembered
from megalite.files.readers.documents import Document, read_documents
from megalite.files.readers.input_units import InputFile, Inputs
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.pieces import Piece
from megalite.files.whole_file import whole_file
from megalite.jobs.notes import read_note

FIRST = "filter"
"""The stage that reads the sources; its units name the paths that all later stages count."""


class KeptUnits(Inputs):
    """The units of a stage as the inputs of the next; ``documents`` counts the unit's own paths."""

    folder: Path
    """Of the stage that kept them."""

    @cached_property
    def units(self) -> list[list[Piece]]:
        """One for each of the stage."""
        return [[Piece(Path(file.path))] for file in self.files]

    def documents(self, unit: int, report: ReadReport) -> Iterator[tuple[int, Document]]:
        """Every document of a unit with the number of its path. Raises: DataError where a shard is damaged."""
        written = remembered(self.folder, unit)
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


def kept_units(job: Job, stage: str) -> KeptUnits:
    """What a stage kept."""
    folder = job.folder / stage
    names = (f"{folder}/kept-{number:05d}" for number in range(len(job.plan.units)))
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
    """Note them."""
    with whole_file(work / FIRST / f"paths-{unit:05d}.json") as file:
        file.write(json.dumps(paths).encode())


def all_written(job: Job, stage: str, shards: bool = True) -> list[Written]:
    """What every unit of a stage has written.

    Args:
        shards: whether they must still be there.

    Raises: DataError where one is not.
    """
    found = []
    for number in range(len(job.plan.units)):
        written = (remembered if shards else noted_unit)(job.folder / stage, number)
        if written is None:
            raise DataError(f"{job.folder / stage}: unit {number} is not done or was damaged; run the command again")
        found.append(written)
    return found


def closing_step(stage: str, before: str, *spent: str) -> Step:
    """The step that merges the books of all units, and removes what nobody needs any more.

    Args:
        before: the stage whose shards only this one has read.
        spent: patterns of this stage's own files.
    """

    def close(job: Job, task: int) -> None:
        ledger = merge_ledgers(all_written(job, stage))
        read_books(job, before).then(ledger)
        write_books(job, stage, ledger)
        remove(job.folder / before, "kept-*")
        remove(job.folder / stage, *spent)

    return Step(f"{stage}-close", 1, close, lambda job, _: books_path(job, stage).is_file())


def remove(folder: Path, *patterns: str) -> None:
    """Remove files that nobody needs any more."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
