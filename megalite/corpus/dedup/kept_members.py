"""Groups of documents, and which of their members are kept so far."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from megalite.corpus.words.word_hashes import Hashes, Offsets

FEW = 100
"""Up to so many documents, a Python counter is faster than numpy."""
_NONE = np.empty(0, np.int64)


class KeptMembers:
    """Groups, such as the buckets of the bands, and their kept documents so far."""

    def __init__(self, owners: Offsets, groups: Offsets, documents: int) -> None:
        """Document ``owners[i]`` is in group ``groups[i]``; both count from 0."""
        sizes = np.bincount(groups) if len(groups) else np.empty(0, np.int64)
        self._groups = groups[np.argsort(owners, kind="stable")]
        self._ends = np.cumsum(np.bincount(owners, minlength=documents))
        self._begins = np.concatenate(([0], np.cumsum(sizes)))
        self._kept = np.empty(len(groups), np.int64)
        self._filled = np.zeros(len(sizes), np.int64)

    def with_document(self, document: int) -> Offsets:
        """Kept documents that share a group with this one, most shared groups first."""
        found = self.members(self._of(document))
        if len(found) < FEW:
            counted = Counter(found.tolist())
            return np.array(sorted(counted, key=lambda other: (-counted[other], other)), np.int64)
        others, counts = np.unique(found, return_counts=True)
        return others[np.argsort(-counts, kind="stable")]

    def members(self, groups: Iterable[int] | Offsets) -> Offsets:
        """The kept documents of these groups, group by group."""
        mine = np.asarray(groups, np.int64)
        filled = self._filled[mine]
        if not filled.any():
            return _NONE
        ranges = zip(self._begins[mine].tolist(), filled.tolist(), strict=True)
        return np.concatenate([self._kept[begin : begin + size] for begin, size in ranges])

    def keep(self, document: int) -> None:
        """Add a kept document."""
        mine = self._of(document)
        self._kept[self._begins[mine] + self._filled[mine]] = document
        self._filled[mine] += 1

    def _of(self, document: int) -> Offsets:
        return self._groups[self._ends[document - 1] if document else 0 : self._ends[document]]


def shared_values(columns: Iterable[Hashes | npt.NDArray[np.int64]], documents: int) -> KeptMembers:
    """A group for each value that several documents have in a column; a column has one value per document."""
    owners, groups, used = [_NONE], [_NONE], 0
    for column in columns:
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        shared = counts > 1
        renumbered = np.cumsum(shared) - 1 + used
        inside = np.flatnonzero(shared[inverse])
        owners.append(inside)
        groups.append(renumbered[inverse[inside]])
        used += int(shared.sum())
    return KeptMembers(np.concatenate(owners), np.concatenate(groups), documents)
