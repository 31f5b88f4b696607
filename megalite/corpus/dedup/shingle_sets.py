"""Documents' sets of n-grams compared: exactly, and by a sketch where one document has many candidates.

Pages made from one template share buckets by the thousand without being near-duplicates. A sketch (one-permutation
hashing, Li et al. 2012, arXiv:1208.1259) tells most of them apart at a hundredth of the cost.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from megalite.corpus.dedup.lsh_index import LshIndex
from megalite.corpus.words.word_hashes import Hashes, Offsets

HELD_BYTES = 32 << 20
BINS = 256
FEW = 8
"""So many candidates are compared exactly at once."""
DEVIATIONS = 4.0
"""A pair at the threshold is below this by chance three times in 100,000."""
ROWS = 1 << 12


class ShingleSets:
    """The sets of the documents that are being compared, a bounded number of them held."""

    def __init__(self, index: LshIndex, documents: Offsets, records: npt.NDArray[Any], threshold: float) -> None:
        self._index, self._documents, self._records = index, documents, records
        self._threshold = threshold
        self.total = int(records["shingles"].sum())
        """n-grams of all documents, repeated ones counted."""
        self._held: dict[int, Hashes] = {}
        self._bytes = 0
        self._sketches = np.zeros((len(documents), BINS), np.uint16)
        self._sketched = np.zeros(len(documents), np.bool_)

    def jaccard(self, a: int, b: int) -> float:
        """Shared n-grams over all n-grams; 0 where a document has none."""
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
        """The smallest n-gram of each of ``BINS`` ranges, 16 bits of it; 0 where the range is empty."""
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
