"""The record of what a stage wrote for a unit, and the files and ledgers of all its units together."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from megalite.config.errors import DataError
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.ledger.saved_ledger import ledger_from_json, ledger_to_json
from megalite.files.own_folder import remove_ours
from megalite.files.readers.input_units import Inputs
from megalite.files.readers.malformed import refuse_malformed
from megalite.jobs.notes import read_note, write_note


class WrittenUnit(NamedTuple):
    """The files of a unit and its ledger."""

    listing: str
    """The file with a line for each document that was dropped; empty if the stage has none."""
    files: list[str]
    """The other files."""
    sizes: list[int]
    """Sizes in bytes of all of them, the listing first."""
    ledger: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """All files, the listing first."""
        return [*([self.listing] if self.listing else []), *self.files]


def load_unit(folder: Path, number: int) -> WrittenUnit | None:
    """The record of a unit, or None unless all of its files are there with their sizes."""
    written = unit_record(folder, number)
    if written is None:
        return None
    paths = [folder / name for name in written.names]
    whole = all(path.is_file() and path.stat().st_size == size for path, size in zip(paths, written.sizes, strict=True))
    return written if whole else None


def unit_record(folder: Path, number: int) -> WrittenUnit | None:
    """The record of a unit, whether or not its files are still there."""
    path = folder / f"written-{number:05d}.json"
    return read_note(path, _unit) if path.is_file() else None


def _unit(values: Any) -> WrittenUnit:
    written = WrittenUnit(**values)
    ledger_from_json(written.ledger)
    if len(written.sizes) != len(written.names):
        raise ValueError("sizes and files do not match")
    return written


def record_unit(folder: Path, number: int, listing: str, files: list[str], ledger: Ledger) -> None:
    """Record that a unit is written."""
    written = WrittenUnit(listing, files, [], ledger_to_json(ledger))
    written = written._replace(sizes=[(folder / name).stat().st_size for name in written.names])
    write_note(folder / f"written-{number:05d}.json", written._asdict())


def refuse_unreadable(
    folder: Path, inputs: Inputs, read: int, malformed: int, examples: Sequence[str], most: float | None
) -> None:
    """Raises: DataError if no input holds a document (the work folder is removed), or if too much is malformed."""
    if read == 0:
        remove_ours(folder)
        names = ", ".join(file.path for file in inputs.files[:3])
        first = f"; {examples[0]}" if examples else ""
        raise DataError(f"{names}: no document in {len(inputs.files)} file(s){first}; check --text_key")
    refuse_malformed(read, malformed, examples, most)


def gather_files(folder: Path, target: Path, written: Sequence[WrittenUnit], listing: str) -> None:
    """Put the files of all units into ``target``, with the listings joined into one of this name."""
    with (target / listing).open("wb") as joined:
        for unit in written:
            with (folder / unit.listing).open("rb") as file:
                shutil.copyfileobj(file, joined)
    for unit in written:
        for name in unit.files:
            link(folder / name, target / name)


def link(path: Path, target: Path) -> None:
    """Give the file a second name, so that a run that is killed now loses nothing."""
    try:
        os.link(path, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, target)


def merge_ledgers(written: Sequence[WrittenUnit]) -> Ledger:
    """One ledger of all units."""
    total = Ledger()
    for unit in written:
        ledger = ledger_from_json(unit.ledger, total.read)
        total.stage = ledger.stage
        total.merge(ledger)
    return total
