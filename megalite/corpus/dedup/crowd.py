"""A large cluster, such as the pages of one template: who can be near whom, told without looking at all pairs.

An n-gram that few documents of the cluster have is *rare*, any other *frequent*. Two documents either share a rare n-gram,
and then stand together in a short list; or they share only frequent ones, and then the smaller number of these bounds their
Jaccard similarity. Pages of a template are below the threshold by this bound, however many they are. Nothing is missed: this
is the prefix filter of exact set joins (Chaudhuri et al. 2006, ICDE; Bayardo et al. 2007, WWW), with three classes of
n-grams in place of an order by frequency.
"""

import math

import numpy as np

from megalite.corpus.dedup.shingle_sets import ShingleSets
from megalite.corpus.dedup.staying_members import StayingMembers, shared_values
from megalite.corpus.words.word_hashes import Hashes, Offsets

CROWD = 1024
"""Documents from which on a cluster is large."""
RARE = 32
"""Documents that have a rare n-gram, at most."""
MOST_SLOTS = 1 << 26
"""Bytes that count who has which n-gram."""
MOST_LISTED = 1 << 22
"""Rare n-grams in lists, 24 bytes each; with more, candidates come from the buckets alone."""
CLASS = 1.1
"""Documents are kept by size, each class so many times the one before."""
ROUNDING = 1e-9


class Crowd:
    """The documents of a large cluster that stay so far."""

    def __init__(self, sets: ShingleSets, keys: Hashes, threshold: float) -> None:
        """``keys`` are ``(documents, columns)``; only documents that share one are ever near."""
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
        """Of the documents of a class that stay, the most frequent n-grams beyond their share."""
        self._by_size = StayingMembers(np.arange(documents), self._classes, documents)

    def with_document(self, document: int) -> Offsets:
        """The documents that stay, share a bucket with this one and may reach the threshold; those that share most first."""
        if self._rare is None:
            return self._buckets.with_document(document)
        found = np.union1d(self._rare.with_document(document), self._by_bound(document))
        if len(found) * self._keys.shape[1] > len(self._keys):  # cheaper by the buckets
            others = self._buckets.with_document(document)
            return others[np.isin(others, found)]
        shared = np.count_nonzero(self._keys[found] == self._keys[document], axis=1)
        found, shared = found[shared > 0], shared[shared > 0]
        return found[np.argsort(-shared, kind="stable")]

    def stay(self, document: int) -> None:
        """Note that this document stays."""
        self._buckets.stay(document)
        if self._rare is None:
            return
        self._rare.stay(document)
        self._by_size.stay(document)
        of_class = self._classes[document]
        slack = self._frequent[document] - self._share * self._sizes[document]
        self._slack[of_class] = max(self._slack[of_class], slack)

    def _by_bound(self, document: int) -> Offsets:
        """Those that could be near by their frequent n-grams alone."""
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

    def _rare_lists(self, sets: ShingleSets, documents: int) -> StayingMembers | None:
        """A group for every rare n-gram that several documents have; None where there are too many.

        Of a document's n-grams, those that it alone has first, then the rare ones: a pair at the threshold that shares a
        rare one shares one of the first ``(1 - threshold) * size + 1``, so only these are listed.
        """
        slots = min(MOST_SLOTS, 4 << sets.total.bit_length())
        mask, holders = np.uint64(slots - 1), np.zeros(slots, np.uint8)
        for document in range(documents):  # n-grams of one slot count together, and look more frequent than they are
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
        return StayingMembers(np.concatenate(owners), groups, documents)


def _class_of(size: float) -> int:
    return 0 if size < 1 else 1 + math.floor(math.log(size) / math.log(CLASS))
