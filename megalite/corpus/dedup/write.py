"""The last pass of deduplication: a unit of input files once more, and what stays of it written."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megalite.config.errors import DataError
from megalite.corpus.dedup.lsh_index import CHUNK, SUFFIXES, LshIndex, Part, PartWriter
from megalite.corpus.dedup.scan import Plan
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.units.kept_shards import KeptShards, json_line
from megalite.corpus.units.unit_books import Written, language_of, remember, remembered, source_of
from megalite.files.readers.documents import Document
from megalite.files.readers.malformed import ReadReport
from megalite.files.whole_file import whole_file

SHINGLES_HELD = 1 << 20


def write_unit(
    plan: Plan, folder: Path, index: LshIndex, removed: npt.NDArray[Any], number: int, part: Part
) -> Written:
    """Write ``kept-NUMBER-*.jsonl.zst`` and ``removed-NUMBER.jsonl``, or take them as they are there.

    Args:
        removed: ``REMOVED`` records of the documents of this unit.

    Raises: DataError where the input is not what it was in the first pass.
    """
    if (written := remembered(folder, number)) is not None:
        return written
    ledger, report = Ledger(stage="dedup"), ReadReport()
    listing = f"removed-{number:05d}.jsonl"
    with whole_file(folder / listing) as losses, KeptShards(folder, number) as shards:
        for document, empty, loss in _documents(plan, number, part, removed, report):
            ledger.read += 1
            if empty:
                entry: dict[str, Any] = {"path": document.path, "line": document.line, "rule": "empty"}
            elif loss is not None:
                entry = _entry(index, document, loss)
            else:
                ledger.keep(source_of(document), document.text, language=language_of(document))
                shards.write(document)
                continue
            place = f"{document.path}:{document.line}"
            ledger.drop(entry["rule"], source_of(document), place, document.text, language=language_of(document))
            losses.write(json_line(entry))
    ledger.malformed, ledger.malformed_examples = report.malformed, report.examples
    files = shards.names
    if plan.write_index:
        files = files + _write_index(folder, part, removed["document"] - part.first, number)
    return remember(folder, number, listing, files, ledger)


def _documents(
    plan: Plan, number: int, part: Part, removed: npt.NDArray[Any], report: ReadReport
) -> Iterator[tuple[Document, bool, Any | None]]:
    """Every document, whether it is empty, and the record of its removal. Raises: DataError."""
    losses = {int(loss["document"]) - part.first: loss for loss in removed}
    expected = _expected(part.table())
    for position, (file, document) in enumerate(plan.inputs.documents(number, report)):
        file_before, line_before, empty = next(expected, (-1, -1, False))
        if (file_before, line_before) != (file, document.line):
            break
        yield document, empty, losses.get(position)
    else:
        if next(expected, None) is None:
            return
    raise DataError(f"{plan.inputs.units[number][0].path}: holds other documents than before; run it again")


def _expected(table: npt.NDArray[Any]) -> Iterator[tuple[int, int, bool]]:
    """File, line and emptiness of every document."""
    for start in range(0, len(table), CHUNK):
        records = table[start : start + CHUNK]
        yield from zip(records["file"].tolist(), records["line"].tolist(), records["empty"].tolist(), strict=True)


def _entry(index: LshIndex, document: Document, loss: Any) -> dict[str, Any]:
    path, line = index.place(int(loss["twin"]))
    return {
        "path": document.path,
        "line": document.line,
        "rule": "exact_duplicate" if loss["exact"] else "near_duplicate",
        "jaccard": float(loss["jaccard"]),
        "kept_path": path,
        "kept_line": line,
    }


def _write_index(folder: Path, part: Part, removed: npt.NDArray[np.int64], number: int) -> list[str]:
    """Write ``index-NUMBER``: the part without what was removed."""
    table = part.table()
    stays = ~table["empty"]
    stays[removed] = False
    documents = np.flatnonzero(stays)
    prefix = folder / f"index-{number:05d}"
    with ExitStack() as files:
        shingles = files.enter_context(part.path(".shingles").open("rb"))
        writer = PartWriter(prefix, files)
        pieces = np.cumsum(table["shingles"][documents]) // SHINGLES_HELD
        for piece in np.split(documents, np.flatnonzero(np.diff(pieces)) + 1):
            records = table[piece].copy()
            for record in records:
                shingles.seek(int(record["first_shingle"]) * 8)
                writer.add_shingles(np.fromfile(shingles, np.uint64, int(record["shingles"])))
            writer.add(records, part.keys(piece))
        writer.finish()
    return [prefix.name + suffix for suffix in SUFFIXES]
