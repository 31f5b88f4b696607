"""Writes the kept documents of a unit to shards."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard

from megalite.files.readers.documents import Document
from megalite.files.whole_file import whole_file

SHARD_BYTES = 256 << 20
"""Approximate size of the text in a shard."""
LEVEL = 1
"""Level of zstd: 150 MB/s per core instead of 65 at level 3, for a sixth more bytes."""


class KeptShards:
    """``kept-NUMBER-000.jsonl.zst`` and so on of a unit; at least one, which may be empty."""

    def __init__(self, folder: Path, number: int) -> None:
        """Removes shards of an earlier attempt."""
        for old in folder.glob(f"kept-{number:05d}-*"):
            old.unlink()
        self._folder, self._number = folder, number
        self.names: list[str] = []

    def __enter__(self) -> "KeptShards":
        self._open()
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)

    def write(self, document: Document) -> None:
        """Write a document; sets ``meta.place`` to its path and line unless an earlier stage has set it."""
        if self._bytes >= SHARD_BYTES:
            self._files.close()
            self._open()
        meta = {"place": f"{document.path}:{document.line}"} | document.meta
        self._bytes += self._writer.write(json_line({"text": document.text, "meta": meta}))

    def _open(self) -> None:
        self.names.append(f"kept-{self._number:05d}-{len(self.names):03d}.jsonl.zst")
        self._files, self._bytes = ExitStack(), 0
        file: IO[bytes] = self._files.enter_context(whole_file(self._folder / self.names[-1]))
        compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._writer = self._files.enter_context(compressor.stream_writer(file, closefd=False))


def json_line(record: dict[str, Any]) -> bytes:
    """One line of JSON with its newline."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a value that orjson does not take: a date of parquet, a lone surrogate
        return json.dumps(record, default=str).encode() + b"\n"
