"""Candidate pairs in a large cluster, such as the pages of one template, without comparing all pairs.

An n-gram that few documents of the cluster have is *rare*, any other *frequent*. Two documents that share a rare n-gram are
in the same short list. If they share only frequent ones, the smaller number of these bounds their Jaccard similarity; for
pages of a template this bound is below the threshold, however many they are. No pair is missed: this is the prefix filter of
exact set joins (Chaudhuri et al. 2006, ICDE; Bayardo et al. 2007, WWW), with three classes of n-grams instead of an order by
frequency.
"""

import math

import numpy as np

from megalite.corpus.dedup.kept_members import KeptMembers, shared_values
from megalite.corpus.dedup.shingle_sets import ShingleSets
from megalite.corpus.words.word_hashes import Hashes, Offsets

LARGE = 1024
"""Minimum number of documents of a large cluster."""
RARE = 32
"""Maximum number of documents with a rare n-gram."""
MOST_SLOTS = 1 << 26
"""Bytes for counting the documents of each n-gram."""
MOST_LISTED = 1 << 22
"""Maximum number of listed rare n-grams, 24 bytes each; with more, candidates come from the buckets alone."""
CLASS = 1.1
"""Ratio between the sizes of one class of documents and the next."""
ROUNDING = 1e-9


class LargeCluster:
    """The kept documents of a large cluster so far."""

    def __init__(self, sets: ShingleSets, keys: Hashes, threshold: float) -> None:
        """``keys`` is ``(documents, columns)``; only documents that share a key can be near-duplicates."""
        documents = len(keys)
        self._keys = keys
        self._buckets = shared_values(keys.T, documents)
        self._threshold = threshold
        self._share = threshold / (1 + threshold)
        self._sizes = np.zeros(documents, np.float64)
        self._frequent = np.zeros(documents, np.float64)
        self._rare = self._rare_lists(sets, documents)
        self._classes = np.array([_class_of(size) for size in self._sizes.tolist()], np.int64)
        self._slack = np.full(int(self._classes.max()) + 1, -np.inf)
        """For each class, the maximum over its kept documents of frequent n-grams beyond their share."""
        self._by_size = KeptMembers(np.arange(documents), self._classes, documents)

    def with_document(self, document: int) -> Offsets:
        """Kept documents that share a bucket with this one and may reach the threshold, most shared buckets first."""
        if self._rare is None:
            return self._buckets.with_document(document)
        found = np.union1d(self._rare.with_document(document), self._by_bound(document))
        if len(found) * self._keys.shape[1] > len(self._keys):  # cheaper by the buckets
            others = self._buckets.with_document(document)
            return others[np.isin(others, found)]
        shared = np.count_nonzero(self._keys[found] == self._keys[document], axis=1)
        found, shared = found[shared > 0], shared[shared > 0]
        return found[np.argsort(-shared, kind="stable")]

    def keep(self, document: int) -> None:
        """Add a kept document."""
        self._buckets.keep(document)
        if self._rare is None:
            return
        self._rare.keep(document)
        self._by_size.keep(document)
        of_class = self._classes[document]
        slack = self._frequent[document] - self._share * self._sizes[document]
        self._slack[of_class] = max(self._slack[of_class], slack)

    def _by_bound(self, document: int) -> Offsets:
        """Kept documents that may reach the threshold by their frequent n-grams alone."""
        size, frequent = self._sizes[document], self._frequent[document]
        needed = self._share * size - ROUNDING * (1 + size)
        smallest, largest = size * self._threshold - ROUNDING * size, size / self._threshold + ROUNDING * size
        nearest = range(_class_of(smallest), min(_class_of(largest), len(self._slack) - 1) + 1)
        classes = [of_class for of_class in nearest if self._slack[of_class] >= needed]
        if not classes or frequent - self._share * size * self._threshold < needed:
            return np.empty(0, np.int64)
        others = self._by_size.members(classes)
        shared = np.minimum(self._frequent[others], frequent)
        return others[shared >= self._share * self._sizes[others] + needed]

    def _rare_lists(self, sets: ShingleSets, documents: int) -> KeptMembers | None:
        """A group for every rare n-gram that several documents have; None if there are too many.

        A document's n-grams are ordered: its own alone, then the rare ones. A pair at the threshold that shares a rare one
        shares one of the first ``(1 - threshold) * size + 1``, so only these are listed.
        """
        slots = min(MOST_SLOTS, 4 << sets.total.bit_length())
        mask, holders = np.uint64(slots - 1), np.zeros(slots, np.uint8)
        for document in range(documents):  # n-grams of one slot are counted together: an upper bound
            mine = (sets.hashes(document) & mask).astype(np.intp)
            holders[mine] = np.minimum(holders[mine], RARE) + 1
        owners, rare, listed = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], 0
        for document in range(documents):
            hashes = sets.hashes(document)
            counts = holders[(hashes & mask).astype(np.intp)]
            self._sizes[document], self._frequent[document] = len(hashes), np.count_nonzero(counts > RARE)
            first = (
                len(hashes) - math.ceil(self._threshold * len(hashes) - ROUNDING) + 1 - np.count_nonzero(counts == 1)
            )
            rare.append(hashes[(counts > 1) & (counts <= RARE)][: max(0, first)])
            owners.append(np.full(len(rare[-1]), document))
            listed += len(rare[-1])
            if listed > MOST_LISTED:
                return None
        _, groups = np.unique(np.concatenate(rare), return_inverse=True)
        return KeptMembers(np.concatenate(owners), groups, documents)


def _class_of(size: float) -> int:
    return 0 if size < 1 else 1 + math.floor(math.log(size) / math.log(CLASS))
