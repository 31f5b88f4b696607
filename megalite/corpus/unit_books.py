"""What a unit has written, remembered; and the books and files of all units together."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from megalite.config.errors import DataError
from megalite.corpus.input_units import Inputs
from megalite.corpus.ledger import Ledger
from megalite.corpus.readers import Document
from megalite.corpus.work_folder import whole_file

PLAIN = ("stage", "read", "kept", "malformed", "malformed_examples", "kept_bytes")
COUNTED = ("dropped", "dropped_bytes", "kept_by_source")


class Written(NamedTuple):
    """The files of a unit and its books."""

    listing: str
    """The file with a line for each document that went."""
    files: list[str]
    """The other files."""
    sizes: list[int]
    """Of all of them, the listing first."""
    ledger: dict[str, Any]


def remembered(folder: Path, number: int) -> Written | None:
    """What an earlier run wrote of a unit, if all of it is there."""
    done = folder / f"written-{number:05d}.json"
    if not done.is_file():
        return None
    written = Written(**json.loads(done.read_text()))
    paths = [folder / name for name in (written.listing, *written.files)]
    whole = all(path.is_file() and path.stat().st_size == size for path, size in zip(paths, written.sizes, strict=True))
    return written if whole else None


def remember(folder: Path, number: int, listing: str, files: list[str], ledger: Ledger) -> Written:
    """Note that a unit is written."""
    sizes = [(folder / name).stat().st_size for name in (listing, *files)]
    written = Written(listing, files, sizes, _noted(ledger))
    with whole_file(folder / f"written-{number:05d}.json") as target:
        target.write(json.dumps(written._asdict()).encode())
    return written


def refuse_nothing_read(folder: Path, inputs: Inputs, read: int, examples: Sequence[str]) -> None:
    """Raises: DataError where there is no document in any input; the work folder goes."""
    if read == 0:
        shutil.rmtree(folder)
        names = ", ".join(file.path for file in inputs.files[:3])
        malformed = f"; {examples[0]}" if examples else ""
        raise DataError(f"{names}: no document in {len(inputs.files)} file(s){malformed}; check --text_key")


def source_of(document: Document) -> str:
    """What a document's ledger calls its source."""
    return str(document.meta.get("source") or document.path.rpartition("/")[2])


def gather(folder: Path, partial: Path, written: Sequence[Written], listing: str) -> None:
    """Move all files to ``partial``, the listings joined to one of this name."""
    with (partial / listing).open("wb") as together:
        for unit in written:
            with (folder / unit.listing).open("rb") as file:
                shutil.copyfileobj(file, together)
    for unit in written:
        for name in unit.files:
            (folder / name).rename(partial / name)


def merge_ledgers(written: Sequence[Written]) -> Ledger:
    """One ledger of all units."""
    total = Ledger()
    for unit in written:
        books = _restored(unit.ledger, total.read)
        total.stage = books.stage
        total.merge(books)
    return total


def _noted(ledger: Ledger) -> dict[str, Any]:
    """What is kept of a ledger in JSON; these stages have rules of their own and judge by no filter."""
    assert ledger.read == ledger.kept + ledger.dropped.total(), "a document was lost"
    return {name: getattr(ledger, name) for name in (*PLAIN, *COUNTED, "dropped_by_source", "_victims")}


def _restored(noted: dict[str, Any], read_before: int) -> Ledger:
    values = {name: noted[name] for name in PLAIN} | {name: Counter(noted[name]) for name in COUNTED}
    values["dropped_by_source"] = {source: Counter(counts) for source, counts in noted["dropped_by_source"].items()}
    values["_victims"] = {
        rule: [(lot, number + read_before, victim) for lot, number, victim in sample]
        for rule, sample in noted["_victims"].items()
    }
    return Ledger(**values)
