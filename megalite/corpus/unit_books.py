"""What a unit has written, remembered; and the books and files of all units together."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from megalite.config.errors import DataError
from megalite.corpus.input_units import Inputs
from megalite.corpus.ledger import VICTIMS_KEPT, Ledger
from megalite.corpus.readers import EXAMPLES_KEPT, Document
from megalite.corpus.work_folder import whole_file


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
    written = Written(listing, files, sizes, ledger.to_json())
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
    """One ledger of all units; the first victims and examples are kept."""
    total = Ledger()
    for ledger in (unit.ledger for unit in written):
        total.read += ledger["read"]
        total.kept += ledger["kept"]
        total.malformed += ledger["malformed"]
        total.malformed_examples = (total.malformed_examples + ledger["malformed_examples"])[:EXAMPLES_KEPT]
        total.kept_bytes += ledger["kept_bytes"]
        total.dropped.update(ledger["dropped"])
        total.kept_by_source.update(ledger["kept_by_source"])
        for source, counts in ledger["dropped_by_source"].items():
            total.dropped_by_source.setdefault(source, Counter()).update(counts)
        for rule, sample in ledger["victims"].items():
            total.victims[rule] = (total.victims.get(rule, []) + sample)[:VICTIMS_KEPT]
    return total
