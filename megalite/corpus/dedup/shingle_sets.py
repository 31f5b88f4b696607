"""Comparison of documents by their sets of n-grams: exact, and by a sketch if a document has many candidates.

Pages made from one template share buckets by the thousand without being near-duplicates. A sketch (one-permutation
hashing, Li et al. 2012, arXiv:1208.1259) rules out most of these pairs at a hundredth of the cost.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from megalite.corpus.dedup.lsh_index import LshIndex
from megalite.corpus.words.word_hashes import Hashes, Offsets

HELD_BYTES = 32 << 20
BINS = 256
FEW = 8
"""Up to so many candidates are compared exactly without a sketch."""
DEVIATIONS = 4.0
"""Standard deviations below the threshold; a pair at the threshold falls below with probability 3e-5."""
ROWS = 1 << 12


class ShingleSets:
    """The sets of the documents of a cluster; a bounded number of them is in memory."""

    def __init__(self, index: LshIndex, documents: Offsets, records: npt.NDArray[Any], threshold: float) -> None:
        self._index, self._documents, self._records = index, documents, records
        self._threshold = threshold
        self.total = int(records["shingles"].sum())
        """Number of n-grams of all documents, with repetitions."""
        self._held: dict[int, Hashes] = {}
        self._bytes = 0
        self._sketches = np.zeros((len(documents), BINS), np.uint16)
        self._sketched = np.zeros(len(documents), np.bool_)

    def jaccard(self, a: int, b: int) -> float:
        """The Jaccard similarity; 0 if a document has no n-grams."""
        first, second = self.hashes(a), self.hashes(b)
        if len(first) == 0 or len(second) == 0:
            return 0.0
        both = np.concatenate((first, second))
        both.sort()
        shared = int(np.count_nonzero(both[1:] == both[:-1]))
        return shared / (len(both) - shared)

    def likely(self, document: int, others: Offsets) -> Offsets:
        """Those of ``others``, in order, that may reach the threshold."""
        if len(others) <= FEW:
            return others
        for position in (document, *others[~self._sketched[others]].tolist()):
            self._sketch(position)
        mine = self._sketches[document]
        likely = []
        for start in range(0, len(others), ROWS):
            rows = others[start : start + ROWS]
            theirs = self._sketches[rows]
            filled = np.count_nonzero(theirs | mine, axis=1)
            equal = np.count_nonzero((theirs == mine) & (mine != 0), axis=1)
            deviation = np.sqrt(self._threshold * (1 - self._threshold) * filled)
            likely.append(rows[equal >= self._threshold * filled - DEVIATIONS * deviation])
        return np.concatenate(likely)

    def _sketch(self, document: int) -> None:
        """16 bits of the smallest n-gram of each of ``BINS`` ranges; 0 if the range is empty."""
        hashes = self.hashes(document)
        ranges = (hashes >> np.uint64(56)).astype(np.intp)
        filled, first = np.unique(ranges, return_index=True)
        self._sketches[document, filled] = (hashes[first] & np.uint64(0xFFFF)).astype(np.uint16) | np.uint16(1)
        self._sketched[document] = True

    def hashes(self, document: int) -> Hashes:
        """The different n-grams of a document, sorted."""
        found = self._held.get(document)
        if found is None:
            if self._bytes > HELD_BYTES:
                self._held.clear()
                self._bytes = 0
            found = self._index.shingle_set(int(self._documents[document]), self._records[document])
            self._held[document] = found
            self._bytes += found.nbytes
        return found
