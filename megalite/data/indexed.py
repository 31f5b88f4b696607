"""Reads ``PREFIX.bin`` / ``PREFIX.idx``: documents, and windows of the flat token stream."""

import os
from bisect import bisect_right
from pathlib import Path

import numpy as np

from megalite.config.errors import DataError
from megalite.data.index_file import file_size, read_index


class IndexedDataset:
    """The tokens of many documents, concatenated in one file.

    Reads use ``pread``, because a memory map reads hundreds of kilobytes from a cold disk for a sample of a few. Opening
    takes the same time for ten documents and a billion. A pickled copy opens its own file.
    """

    def __init__(self, prefix: str | Path) -> None:
        """Raises: FileNotFoundError; DataError if a file is damaged or the two do not match."""
        self.prefix = str(prefix)
        path = Path(f"{prefix}.bin")
        self.index = read_index(Path(f"{prefix}.idx"))
        if not path.exists():
            raise FileNotFoundError(f"{path}: missing, although its index exists; preprocess the data again")
        size = file_size(path)
        self.dtype = self.index.dtype
        self._file = path.open("rb", buffering=0)
        count = len(self.index.lengths)
        end = int(self.index.offsets[-1]) + int(self.index.lengths[-1]) * self.dtype.itemsize if count else 0
        if size != end:
            raise DataError(
                f"{path}: has {size} bytes, its index describes {end}; it is "
                f"{'truncated' if size < end else 'longer than it should be'}, preprocess the data again"
            )
        if len(self.index.boundaries) and int(self.index.boundaries[-1]) != count:
            raise DataError(
                f"{self.prefix}.idx: the last document ends at sequence {int(self.index.boundaries[-1])} of {count}; the "
                f"index is damaged, preprocess the data again"
            )
        self.num_tokens = size // self.dtype.itemsize

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.index.lengths)

    @property
    def num_documents(self) -> int:
        return max(0, len(self.index.boundaries) - 1)

    def read(self, start: int, count: int) -> np.ndarray:
        """Returns tokens ``[start, start + count)`` of the flat stream, in the file's dtype."""
        size = self.dtype.itemsize
        content = os.pread(self._file.fileno(), count * size, start * size)
        if len(content) != count * size:
            raise DataError(f"{self.prefix}.bin: ends before token {start + count}; it was truncated while in use")
        return np.frombuffer(content, dtype=self.dtype)

    def document_range(self, number: int) -> tuple[int, int]:
        """Returns ``(start, end)`` of a document in the flat stream."""
        first, after = int(self.index.boundaries[number]), int(self.index.boundaries[number + 1])
        end = self.num_tokens if after == len(self) else int(self.index.offsets[after]) // self.dtype.itemsize
        start = end if first == after else int(self.index.offsets[first]) // self.dtype.itemsize
        return start, end

    def document(self, number: int) -> np.ndarray:
        """Returns the tokens of a document."""
        start, end = self.document_range(number)
        return self.read(start, end - start)

    def document_at(self, token: int) -> int:
        """Returns the number of the document that contains a token of the flat stream, in O(log documents)."""
        # bisect, not searchsorted: the arrays of the format are unaligned, and numpy would copy them
        sequence = bisect_right(self.index.offsets, token * self.dtype.itemsize) - 1
        while int(self.index.lengths[sequence]) == 0:  # an empty sequence begins where the next one does
            sequence -= 1
        return bisect_right(self.index.boundaries, sequence) - 1

    def parts(self, start: int, count: int) -> list[tuple[int, int, int]]:
        """Splits tokens ``[start, start + count)`` by document: ``(document, first token within it, number of tokens)``."""
        found = []
        while count:
            number = self.document_at(start)
            begin, end = self.document_range(number)
            taken = min(count, end - start)
            found.append((number, start - begin, taken))
            start, count = start + taken, count - taken
        return found

    def positions(self, start: int, count: int) -> np.ndarray:
        """Returns the distance of each of the tokens from the start of its document, or from ``start`` if that is later."""
        counting = np.arange(count, dtype=np.int64)
        number = self.document_at(start) + 1
        while number < self.num_documents and (begin := self.document_range(number)[0]) < start + count:
            counting[begin - start :] = np.arange(start + count - begin)
            number += 1
        return counting

    def __getstate__(self) -> dict[str, str]:
        return {"prefix": self.prefix}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["prefix"])  # type: ignore[misc]
