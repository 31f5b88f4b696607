"""A shard, the result of one unit and key: ids, then the tokens of each sequence, then the sequences of each document.

Nothing is flushed to the disk: a resumed run checks the checksum, which also detects what a power cut has lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import xxhash

READ_BYTES = 1 << 20


@dataclass
class ShardCounts:
    """Counts and checksum of a shard."""

    tokens: int = 0
    sequences: int = 0
    documents: int = 0
    checksum: str = ""
    """xxh3_64 of the file."""


class Stretch(NamedTuple):
    """A part of a file."""

    path: Path
    start: int
    bytes: int


class ShardWriter:
    """Writes a shard document by document; leaving the context completes the file and ``counts``."""

    def __init__(self, path: Path) -> None:
        self.counts = ShardCounts()
        self._file = path.open("wb", buffering=0)
        self._digest = xxhash.xxh3_64()
        self._lengths: list[np.ndarray] = []
        self._sequences: list[np.ndarray] = []

    def append(self, ids: np.ndarray, lengths: np.ndarray, sequences: np.ndarray) -> None:
        """Add documents.

        Args:
            ids: in the dtype of the dataset.
            lengths: ids of each sequence.
            sequences: sequences of each document; may be 0.
        """
        self._write(ids)
        self._lengths.append(lengths.astype("<i4"))
        self._sequences.append(sequences.astype("<i4"))
        self.counts.tokens += len(ids)
        self.counts.sequences += len(lengths)
        self.counts.documents += len(sequences)

    def _write(self, values: np.ndarray) -> None:
        content = np.ascontiguousarray(values).data.cast("B")
        self._digest.update(content)
        while content:
            content = content[self._file.write(content) :]

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write lengths and sequences behind the ids, and close."""
        with self._file:
            if kind is None:
                for part in (*self._lengths, *self._sequences):
                    self._write(part)
                self.counts.checksum = self._digest.hexdigest()


def is_whole(path: Path, counts: ShardCounts, itemsize: int) -> bool:
    """Whether size and checksum are right. Raises: FileNotFoundError."""
    if path.stat().st_size != sum(stretch.bytes for stretch in stretches(path, counts, itemsize)):
        return False
    digest = xxhash.xxh3_64()
    with path.open("rb", buffering=0) as file:
        while content := file.read(READ_BYTES):
            digest.update(content)
    return digest.hexdigest() == counts.checksum


def stretches(path: Path, counts: ShardCounts, itemsize: int) -> Sequence[Stretch]:
    """The parts of the file with ids, lengths and sequences."""
    ids, lengths = counts.tokens * itemsize, counts.sequences * 4
    return (
        Stretch(path, 0, ids),
        Stretch(path, ids, lengths),
        Stretch(path, ids + lengths, counts.documents * 4),
    )
