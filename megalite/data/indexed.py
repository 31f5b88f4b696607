"""Reading ``PREFIX.bin`` / ``PREFIX.idx``: documents, and windows of the flat token stream."""

import os
from bisect import bisect_right
from pathlib import Path

import numpy as np

from megalite.config.errors import DataError
from megalite.data.index_file import file_size, read_index


class IndexedDataset:
    """Tokens of many documents, one after the other in one file.

    Reads go through ``pread``: a memory map reads hundreds of kilobytes from a cold disk for a sample of a few. Opening
    costs the same for ten documents and a billion; a forked or pickled copy opens its own file.
    """

    def __init__(self, prefix: str | Path) -> None:
        """Open and check. Raises: FileNotFoundError; DataError with value, reason and remedy."""
        self.prefix = str(prefix)
        path = Path(f"{prefix}.bin")
        self.index = read_index(Path(f"{prefix}.idx"))
        if not path.exists():
            raise FileNotFoundError(f"{path}: missing, though its index is there; preprocess the data again")
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
        """Number of documents."""
        return max(0, len(self.index.boundaries) - 1)

    def read(self, start: int, count: int) -> np.ndarray:
        """Tokens ``[start, start + count)`` of the flat stream, in the file's dtype."""
        size = self.dtype.itemsize
        content = os.pread(self._file.fileno(), count * size, start * size)
        if len(content) != count * size:
            raise DataError(f"{self.prefix}.bin: ends before token {start + count}; it was cut while in use")
        return np.frombuffer(content, dtype=self.dtype)

    def document_range(self, number: int) -> tuple[int, int]:
        """First token and token after the last of a document, in the flat stream."""
        first, after = int(self.index.boundaries[number]), int(self.index.boundaries[number + 1])
        end = self.num_tokens if after == len(self) else int(self.index.offsets[after]) // self.dtype.itemsize
        start = end if first == after else int(self.index.offsets[first]) // self.dtype.itemsize
        return start, end

    def document(self, number: int) -> np.ndarray:
        """All tokens of one document."""
        start, end = self.document_range(number)
        return self.read(start, end - start)

    def document_at(self, token: int) -> int:
        """Number of the document that holds a token of the flat stream, in O(log documents)."""
        # bisect, not searchsorted: the format's arrays are unaligned, and numpy would copy all of them first
        sequence = bisect_right(self.index.offsets, token * self.dtype.itemsize) - 1
        while int(self.index.lengths[sequence]) == 0:  # an empty sequence begins where the next one does
            sequence -= 1
        return bisect_right(self.index.boundaries, sequence) - 1

    def parts(self, start: int, count: int) -> list[tuple[int, int, int]]:
        """Tokens ``[start, start + count)`` by documents: ``(document, first token within it, tokens)``; none is empty."""
        found = []
        while count:
            number = self.document_at(start)
            begin, end = self.document_range(number)
            taken = min(count, end - start)
            found.append((number, start - begin, taken))
            start, count = start + taken, count - taken
        return found

    def positions(self, start: int, count: int) -> np.ndarray:
        """Of tokens ``[start, start + count)``: the distance from the start of their document, or from a later ``start``."""
        counting = np.arange(count, dtype=np.int64)
        number = self.document_at(start) + 1
        while number < self.num_documents and (begin := self.document_range(number)[0]) < start + count:
            counting[begin - start :] = np.arange(start + count - begin)
            number += 1
        return counting

    def __getstate__(self) -> dict[str, str]:
        """Only the prefix travels to another process."""
        return {"prefix": self.prefix}

    def __setstate__(self, state: dict[str, str]) -> None:
        """Open again."""
        self.__init__(state["prefix"])  # type: ignore[misc]
