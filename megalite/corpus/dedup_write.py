"""The last pass of deduplication: a unit of input files once more, and what stays of it written."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import zstandard

from megalite.config.errors import DataError
from megalite.corpus.dedup_scan import Plan, unit_documents
from megalite.corpus.ledger import Ledger
from megalite.corpus.lsh_index import CHUNK, SUFFIXES, LshIndex, Part, PartWriter
from megalite.corpus.readers import Document, ReadReport
from megalite.corpus.work_folder import whole_file

SHARD_BYTES = 256 << 20
"""Text of a shard, about."""
LEVEL = 1
"""Of zstd: 150 MB a second and core where level 3 has 65, for a sixth more bytes."""
SHINGLES_HELD = 1 << 20


class Written(NamedTuple):
    """The files of a unit and its books."""

    files: list[str]
    sizes: list[int]
    kept: int
    ledger: dict[str, Any]


def write_unit(
    plan: Plan, folder: Path, index: LshIndex, removed: npt.NDArray[Any], number: int, part: Part
) -> Written:
    """Write ``kept-NUMBER-*.jsonl.zst`` and ``removed-NUMBER.jsonl``, or take them as they are there.

    Args:
        removed: ``REMOVED`` records of the documents of this unit.

    Raises: DataError where the input is not what it was in the first pass.
    """
    done = folder / f"written-{number:05d}.json"
    if done.is_file():
        written = Written(**json.loads(done.read_text()))
        paths = [folder / name for name in written.files]
        if all(p.is_file() and p.stat().st_size == size for p, size in zip(paths, written.sizes, strict=True)):
            return written
    for old in folder.glob(f"kept-{number:05d}-*"):
        old.unlink()
    ledger, report = Ledger(), ReadReport()
    shards = _Shards(folder, number)
    with whole_file(folder / f"removed-{number:05d}.jsonl") as list_file, shards:
        for document, empty, loss in _documents(plan, number, part, removed, report):
            ledger.read += 1
            source = str(document.meta.get("source") or document.path.rpartition("/")[2])
            place = f"{document.path}:{document.line}"
            if empty:
                entry: dict[str, Any] = {"path": document.path, "line": document.line, "rule": "empty"}
            elif loss is not None:
                entry = _entry(index, document, loss)
            else:
                ledger.keep(source, document.text)
                shards.write(_json_line({"text": document.text, "meta": {"place": place} | document.meta}))
                continue
            ledger.drop(entry["rule"], source, place, document.text)
            list_file.write(_json_line(entry))
    ledger.malformed, ledger.malformed_examples = report.malformed, report.examples
    files = [f"removed-{number:05d}.jsonl", *shards.names]
    if plan.write_index:
        files += _write_index(folder, part, removed["document"] - part.first, number)
    sizes = [(folder / name).stat().st_size for name in files]
    written = Written(files, sizes, ledger.kept, ledger.to_json())
    with whole_file(done) as target:
        target.write(json.dumps(written._asdict()).encode())
    return written


def _documents(
    plan: Plan, number: int, part: Part, removed: npt.NDArray[Any], report: ReadReport
) -> Iterator[tuple[Document, bool, Any | None]]:
    """Every document, whether it is empty, and the record of its removal. Raises: DataError."""
    losses = {int(loss["document"]) - part.first: loss for loss in removed}
    expected = _expected(part.table())
    for position, (file, document) in enumerate(unit_documents(plan, plan.units()[number], report)):
        file_before, line_before, empty = next(expected, (-1, -1, False))
        if (file_before, line_before) != (file, document.line):
            break
        yield document, empty, losses.get(position)
    else:
        if next(expected, None) is None:
            return
    raise DataError(f"{plan.inputs[plan.units()[number][0]].path}: holds other documents than before; run it again")


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


class _Shards:
    """``kept-NUMBER-*.jsonl.zst``, at least one, be it empty."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self.names: list[str] = []

    def __enter__(self) -> "_Shards":
        self._open()
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)

    def write(self, line: bytes) -> None:
        """Take a line."""
        if self._bytes >= SHARD_BYTES:
            self._files.close()
            self._open()
        self._bytes += self._writer.write(line)

    def _open(self) -> None:
        self.names.append(f"kept-{self._number:05d}-{len(self.names):03d}.jsonl.zst")
        self._files, self._bytes = ExitStack(), 0
        file: IO[bytes] = self._files.enter_context(whole_file(self._folder / self.names[-1]))
        compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._writer = self._files.enter_context(compressor.stream_writer(file, closefd=False))


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
            records, hashes = table[piece].copy(), [np.empty(0, np.uint64)]
            for record in records:
                shingles.seek(int(record["first_shingle"]) * 8)
                hashes.append(np.fromfile(shingles, np.uint64, int(record["shingles"])))
            writer.add(records, part.keys(piece), np.concatenate(hashes))
        writer.finish()
    return [prefix.name + suffix for suffix in SUFFIXES]


def _json_line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a value that orjson does not take: a date of parquet, a lone surrogate
        return json.dumps(record, default=str).encode() + b"\n"
