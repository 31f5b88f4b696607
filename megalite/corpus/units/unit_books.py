"""What a unit has written, remembered; and the books and files of all units together."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from megalite.config.errors import DataError
from megalite.corpus.ledger.ledger import Ledger
from megalite.files.own_folder import remove_ours
from megalite.files.readers.documents import Document
from megalite.files.readers.input_units import Inputs
from megalite.files.readers.malformed import refuse_malformed
from megalite.files.whole_file import whole_file
from megalite.jobs.notes import read_note

PLAIN = ("stage", "read", "kept", "malformed", "malformed_examples", "kept_bytes")
COUNTED = ("dropped", "dropped_bytes", "kept_by_source", "kept_by_language", "fired", "alone", "edited")
LANGUAGE_KEY = "detected_language"
LONGEST_CODE = 3
BY_NAME = ("dropped_by_source", "dropped_by_language", "histograms")


class Written(NamedTuple):
    """The files of a unit and its books."""

    listing: str
    """The file with a line for each document that went; may be empty for none."""
    files: list[str]
    """The other files."""
    sizes: list[int]
    """Of all of them, the listing first."""
    ledger: dict[str, Any]


def remembered(folder: Path, number: int) -> Written | None:
    """What an earlier run wrote of a unit, if all of it is there."""
    written = noted_unit(folder, number)
    if written is None:
        return None
    paths = [folder / name for name in _names(written.listing, written.files)]
    whole = all(path.is_file() and path.stat().st_size == size for path, size in zip(paths, written.sizes, strict=True))
    return written if whole else None


def noted_unit(folder: Path, number: int) -> Written | None:
    """What a unit wrote, be it there or not."""
    done = folder / f"written-{number:05d}.json"
    return read_note(done, _written) if done.is_file() else None


def _written(values: Any) -> Written:
    written = Written(**values)
    restored(written.ledger)
    if len(written.sizes) != len(_names(written.listing, written.files)):
        raise ValueError("sizes and files do not match")
    return written


def remember(folder: Path, number: int, listing: str, files: list[str], ledger: Ledger) -> Written:
    """Note that a unit is written."""
    sizes = [(folder / name).stat().st_size for name in _names(listing, files)]
    written = Written(listing, files, sizes, noted(ledger))
    with whole_file(folder / f"written-{number:05d}.json") as target:
        target.write(json.dumps(written._asdict()).encode())
    return written


def refuse_unreadable(
    folder: Path, inputs: Inputs, read: int, malformed: int, examples: Sequence[str], most: float | None
) -> None:
    """Raises: DataError where there is no document in any input, and the work folder goes; where too much is malformed."""
    if read == 0:
        remove_ours(folder)
        names = ", ".join(file.path for file in inputs.files[:3])
        first = f"; {examples[0]}" if examples else ""
        raise DataError(f"{names}: no document in {len(inputs.files)} file(s){first}; check --text_key")
    refuse_malformed(read, malformed, examples, most)


def source_of(document: Document) -> str:
    """What a document's ledger calls its source."""
    return str(document.meta.get("source") or document.path.rpartition("/")[2])


def language_of(document: Document) -> str | None:
    """The language that the filters of a recipe judged a document as, where they know several."""
    code = document.meta.get(LANGUAGE_KEY)
    return code if isinstance(code, str) and len(code) <= LONGEST_CODE else None


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
        books = restored(unit.ledger, total.read)
        total.stage = books.stage
        total.merge(books)
    return total


def noted(ledger: Ledger) -> dict[str, Any]:
    """A ledger as JSON, from which :func:`restored` makes it again."""
    assert ledger.read == ledger.kept + ledger.dropped.total(), "a document was lost"
    values = {name: getattr(ledger, name) for name in (*PLAIN, *COUNTED, *BY_NAME, "_victims")}
    return values | {"overlaps": [[*pair, count] for pair, count in ledger.overlaps.items()]}


def restored(values: dict[str, Any], read_before: int = 0) -> Ledger:
    """The ledger; its documents come after so many others of the same stage."""
    ledger = Ledger(**{name: values[name] for name in PLAIN})
    for name in COUNTED:
        setattr(ledger, name, Counter(values[name]))
    for name in ("dropped_by_source", "dropped_by_language"):
        setattr(ledger, name, {key: Counter(counts) for key, counts in values[name].items()})
    ledger.histograms = {
        rule: Counter({int(bar): count for bar, count in bars.items()}) for rule, bars in values["histograms"].items()
    }
    ledger.overlaps = Counter({(first, second): count for first, second, count in values["overlaps"]})
    ledger._victims = {
        rule: [(lot, number + read_before, victim) for lot, number, victim in sample]
        for rule, sample in values["_victims"].items()
    }
    return ledger


def _names(listing: str, files: Sequence[str]) -> list[str]:
    return [*([listing] if listing else []), *files]
