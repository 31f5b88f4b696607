"""Band keys, n-grams and places of documents on disk, written once and read by column or by document.

A part is three files: ``.table`` (a record per document), ``.bands`` (chunks of documents, column by column, so that one
band of all documents is read without the others) and ``.shingles`` (the hashes of the n-grams, for exact comparison).
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megalite.corpus.words.word_hashes import Hashes, Offsets
from megalite.files.whole_file import whole_file

RECORD = np.dtype(
    [
        ("digest", "<u8", 2),  # of the unchanged text
        ("first_shingle", "<u8"),
        ("shingles", "<u8"),
        ("line", "<u8"),
        ("score", "<f8"),  # higher is kept first
        ("file", "<u4"),  # position in the list of inputs
        ("empty", "?"),
    ]
)
SUFFIXES = (".table", ".bands", ".shingles")
CHUNK = 1 << 14
"""Documents of a chunk of bands."""
FILES_OPEN = 64


class PartWriter:
    """Writes a part; its files get their names when the ``ExitStack`` closes without an error."""

    def __init__(self, prefix: Path, files: ExitStack) -> None:
        """``files`` closes the files of the part."""
        self._table, self._bands, self._shingles = (
            files.enter_context(whole_file(prefix.with_name(prefix.name + suffix))) for suffix in SUFFIXES
        )
        self._keys: list[Hashes] = []
        self._waiting = 0
        self._shingles_used = 0
        self.documents = 0

    def add_shingles(self, shingles: Hashes) -> None:
        """Write the n-grams of the documents of the next :meth:`add`."""
        self._shingles.write(shingles.tobytes())

    def add(self, records: npt.NDArray[Any], keys: Hashes) -> None:
        """Add documents whose n-grams are written. Sets ``first_shingle``; ``keys`` is ``(documents, columns)``."""
        records["first_shingle"] = self._shingles_used + np.cumsum(records["shingles"]) - records["shingles"]
        self._shingles_used += int(records["shingles"].sum())
        self._table.write(records.tobytes())
        self._keys.append(keys)
        self._waiting += len(keys)
        self.documents += len(keys)
        while self._waiting >= CHUNK:
            self._write_chunk()

    def finish(self) -> None:
        """Write the last chunk."""
        if self._waiting:
            self._write_chunk()

    def _write_chunk(self) -> None:
        keys = np.concatenate(self._keys)
        self._bands.write(keys[:CHUNK].T.tobytes())
        self._keys = [keys[CHUNK:]]
        self._waiting = len(self._keys[0])


class Part(NamedTuple):
    """A finished part, and the number of its first document among all."""

    prefix: Path
    documents: int
    columns: int
    first: int
    paths: tuple[str, ...]
    """The paths that ``file`` in the records numbers."""

    def path(self, suffix: str) -> Path:
        """One of the files of the part."""
        return self.prefix.with_name(self.prefix.name + suffix)

    def table(self) -> npt.NDArray[Any]:
        """The records, memory-mapped."""
        return np.memmap(self.path(".table"), RECORD, "r") if self.documents else np.empty(0, RECORD)

    def column(self, column: int) -> Iterator[tuple[int, Hashes]]:
        """``(number of the first document, keys)`` of each chunk."""
        with self.path(".bands").open("rb") as file:
            for start in range(0, self.documents, CHUNK):
                rows = min(CHUNK, self.documents - start)
                file.seek((start * self.columns + column * rows) * 8)
                yield self.first + start, np.fromfile(file, np.uint64, rows)

    def keys(self, documents: Offsets) -> Hashes:
        """``(len(documents), columns)``; ``documents`` are numbers within the part, sorted."""
        rows = np.empty((len(documents), self.columns), np.uint64)
        chunks = documents // CHUNK
        with self.path(".bands").open("rb") as file:
            for chunk in np.unique(chunks).tolist():
                size = min(CHUNK, self.documents - chunk * CHUNK)
                file.seek(chunk * CHUNK * self.columns * 8)
                block = np.fromfile(file, np.uint64, size * self.columns).reshape(self.columns, size)
                chosen = chunks == chunk
                rows[chosen] = block[:, documents[chosen] - chunk * CHUNK].T
        return rows


class LshIndex:
    """All parts as one list of documents; those of earlier dumps come first."""

    def __init__(self, parts: Sequence[Part], known: int) -> None:
        """The first ``known`` documents are of earlier dumps and always kept."""
        self.parts, self.known = list(parts), known
        self._ends = np.cumsum([part.documents for part in self.parts], dtype=np.int64)
        self._tables = [part.table() for part in self.parts]
        self._files: OrderedDict[int, Any] = OrderedDict()

    def __reduce__(self) -> tuple[type["LshIndex"], tuple[list[Part], int]]:
        """A copy in another process opens the files itself."""
        return LshIndex, (self.parts, self.known)

    @property
    def documents(self) -> int:
        """Total number of documents."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def part_of(self, document: int) -> int:
        """The number of the part with a document."""
        return int(np.searchsorted(self._ends, document, side="right"))

    def place(self, document: int) -> tuple[str, int]:
        """The path and the line of a document."""
        part = self.part_of(document)
        record = self._tables[part][document - self.parts[part].first]
        return self.parts[part].paths[record["file"]], int(record["line"])

    def records(self, documents: Offsets) -> npt.NDArray[Any]:
        """The records of these documents."""
        records = np.empty(len(documents), RECORD)
        for part, chosen in self._by_part(documents):
            records[chosen] = self._tables[part][documents[chosen] - self.parts[part].first]
        return records

    def keys(self, documents: Offsets) -> Hashes:
        """``(len(documents), columns)``; ``documents`` is sorted."""
        return np.concatenate(
            [self.parts[n].keys(documents[chosen] - self.parts[n].first) for n, chosen in self._by_part(documents)]
        )

    def shingle_set(self, document: int, record: Any) -> Hashes:
        """The different n-grams of a document, sorted."""
        part = self.part_of(document)
        file = self._files.get(part)
        if file is None:
            if len(self._files) == FILES_OPEN:
                self._files.popitem(last=False)[1].close()
            file = self._files[part] = self.parts[part].path(".shingles").open("rb", buffering=0)
        content = os.pread(file.fileno(), int(record["shingles"]) * 8, int(record["first_shingle"]) * 8)
        hashes = np.sort(np.frombuffer(content, np.uint64))
        different = np.ones(len(hashes), np.bool_)
        np.not_equal(hashes[1:], hashes[:-1], out=different[1:])
        return hashes[different]

    def _by_part(self, documents: Offsets) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        owners = np.searchsorted(self._ends, documents, side="right")
        for part in np.unique(owners).tolist():
            yield part, owners == part
