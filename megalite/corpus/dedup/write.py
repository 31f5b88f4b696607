"""Last pass of a deduplication: reads a unit again and writes the documents that stay."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megalite.config.errors import DataError
from megalite.corpus.dedup.lsh_index import CHUNK, SUFFIXES, LshIndex, Part, PartWriter
from megalite.corpus.dedup.scan import DedupPlan
from megalite.corpus.units.unit_writer import UnitWriter
from megalite.files.readers.documents import Document
from megalite.files.readers.malformed import ReadReport

SHINGLES_HELD = 1 << 20


def write_unit(
    plan: DedupPlan, folder: Path, index: LshIndex, removed: npt.NDArray[Any], number: int, part: Part
) -> None:
    """Write ``kept-NUMBER-*.jsonl.zst``, ``removed-NUMBER.jsonl`` and the record of the unit.

    Args:
        removed: ``REMOVED`` records of the documents of this unit.

    Raises: DataError if the input is not what it was in the first pass.
    """
    report = ReadReport()
    with UnitWriter(folder, number, "dedup", "removed") as unit:
        for document, empty, loss in _documents(plan, number, part, removed, report):
            if not empty and loss is None:
                unit.keep(document)
                continue
            entry = _entry(index, document, None if empty else loss)
            unit.drop(document, entry["rule"], entry)
    unit.record(
        report, _write_index(folder, part, removed["document"] - part.first, number) if plan.write_index else []
    )


def _documents(
    plan: DedupPlan, number: int, part: Part, removed: npt.NDArray[Any], report: ReadReport
) -> Iterator[tuple[Document, bool, Any | None]]:
    """Every document, whether it is empty, and the record of its removal if there is one. Raises: DataError."""
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


def _entry(index: LshIndex, document: Document, loss: Any | None) -> dict[str, Any]:
    """The line of a dropped document; without a loss it is empty."""
    if loss is None:
        return {"path": document.path, "line": document.line, "rule": "empty"}
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
    """Write ``index-NUMBER.*``: the part without the removed documents."""
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
