"""A shard, what one unit gave under one key: ids, then the tokens of each sequence, then the sequences of each document.

Nothing is forced to the disk: the checksum tells a run that goes on whether the file is whole, after a power cut too.
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
    """What is in a shard."""

    tokens: int = 0
    sequences: int = 0
    documents: int = 0
    checksum: str = ""
    """xxh3_64 of the whole file."""


class Stretch(NamedTuple):
    """A part of a file."""

    path: Path
    start: int
    bytes: int


class ShardWriter:
    """Writes a shard document by document; a context, whose end completes the file and ``counts``."""

    def __init__(self, path: Path) -> None:
        """Begin anew, whatever was there."""
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
            sequences: sequences of each document; they may be none.
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
        """The writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what stands behind the ids, and close."""
        with self._file:
            if kind is None:
                for part in (*self._lengths, *self._sequences):
                    self._write(part)
                self.counts.checksum = self._digest.hexdigest()


def is_whole(path: Path, counts: ShardCounts, itemsize: int) -> bool:
    """Whether the file is what was written. Raises: FileNotFoundError."""
    if path.stat().st_size != sum(stretch.bytes for stretch in stretches(path, counts, itemsize)):
        return False
    digest = xxhash.xxh3_64()
    with path.open("rb", buffering=0) as file:
        while content := file.read(READ_BYTES):
            digest.update(content)
    return digest.hexdigest() == counts.checksum


def stretches(path: Path, counts: ShardCounts, itemsize: int) -> Sequence[Stretch]:
    """Where the ids, the lengths and the numbers of sequences are."""
    ids, lengths = counts.tokens * itemsize, counts.sequences * 4
    return (
        Stretch(path, 0, ids),
        Stretch(path, ids, lengths),
        Stretch(path, ids + lengths, counts.documents * 4),
    )
