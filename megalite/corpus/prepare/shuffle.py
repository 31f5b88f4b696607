"""Writes documents to shards in a shuffled order, in bounded memory for any number of documents.

Sorting by a keyed hash of the text is a shuffle that does not depend on the order of the input. It is an external merge
sort (Knuth, The Art of Computer Programming 3, section 5.4): sorted runs are spilled to disk and merged at the end.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from heapq import merge
from pathlib import Path

import zstandard

from megalite.files.readers.input_files import open_bytes

RUN_BYTES = 64 << 20
"""Text held in memory before it is sorted and spilled."""
SHARD_BYTES = 64 << 20
"""Approximate size of the text in a shard."""
MOST_RUNS = 64
"""So many runs of a level are merged into one of the next, which bounds the number of open files."""
KEY_LENGTH = 33
"""Hexadecimal digits of the 16-byte key, and a space."""


def keyed(key: bytes, line: bytes) -> bytes:
    """A line with its key in front."""
    return key.hex().encode() + b" " + line


class ShuffledShards:
    """``NAME-00000.jsonl.zst`` and so on, with the lines sorted by key, then by content."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._lines: list[bytes] = []
        self._held = 0
        self._levels: list[list[Path]] = []
        self._spilled = 0

    def add(self, key: bytes, line: bytes) -> None:
        """Add a line with its newline; ``key`` has 16 bytes."""
        self.add_keyed(keyed(key, line))

    def add_keyed(self, line: bytes) -> None:
        """Add the result of :func:`keyed`."""
        self._lines.append(line)
        self._held += len(line)
        if self._held >= RUN_BYTES:
            self._lines.sort()
            self._spill(self._lines, level=0)
            self._lines, self._held = [], 0

    def finish(self) -> None:
        """Write the shards; at least one, which may be empty."""
        self._lines.sort()
        runs = [run for level in self._levels for run in level]
        with _merged(runs, self._lines) as lines:
            number, line = 0, next(lines, None)
            while line is not None or number == 0:
                size = 0
                with _compressed(self._folder / f"{self._name}-{number:05d}.jsonl.zst") as shard:
                    while line is not None and size < SHARD_BYTES:
                        size += shard.write(line[KEY_LENGTH:])
                        line = next(lines, None)
                number += 1

    def _spill(self, lines: Iterable[bytes], level: int) -> None:
        self._spilled += 1
        run = self._folder / f"{self._name}.run{self._spilled}.zst"
        with _compressed(run) as file:
            for line in lines:
                file.write(line)
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(run)
        if len(self._levels[level]) == MOST_RUNS:
            runs, self._levels[level] = self._levels[level], []
            with _merged(runs) as merged:
                self._spill(merged, level + 1)


@contextmanager
def _merged(runs: list[Path], held: Iterable[bytes] = ()) -> Iterator[Iterator[bytes]]:
    """The sorted lines of all runs; removes the runs afterwards."""
    with ExitStack() as files:
        yield iter(merge(held, *(files.enter_context(open_bytes(run)) for run in runs)))
    for run in runs:
        run.unlink()


@contextmanager
def _compressed(path: Path) -> Iterator[zstandard.ZstdCompressionWriter]:
    with path.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as writer:
        yield writer
