"""Which documents hang together, and which of them stay.

Documents that share a bucket are joined to clusters (union-find, all edges at once as in Shiloach and Vishkin 1982), so that
each cluster is settled on its own. In it the documents come up in the order of the rule; one goes if it equals one that
stays, or if its exact Jaccard similarity to one that stays reaches the threshold. So nothing goes without a copy that
stays, no chain of small edits takes away a document unlike all that is left, and no two documents stay that were found to
be near-duplicates.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megalite.corpus.dedup.crowd import Crowd
from megalite.corpus.dedup.lsh_index import LshIndex
from megalite.corpus.dedup.shingle_sets import ShingleSets
from megalite.corpus.dedup.staying_members import shared_values
from megalite.corpus.words.word_hashes import Offsets

REMOVED = np.dtype([("document", "<i8"), ("twin", "<i8"), ("jaccard", "<f8"), ("exact", "?")])
_NONE = np.empty(0, np.int64)


def bucket_edges(index: LshIndex, column: int, memory_bytes: int) -> npt.NDArray[np.int64]:
    """``(edges, 2)``: every document that shares this column's key with an earlier one, and the first of that key.

    Buckets without a new document are left out.
    """
    passes = max(1, -(-index.documents * 48 // memory_bytes))
    edges = [_edges_of_range(index, column, number, passes) for number in range(passes)]
    return np.concatenate(edges)


def _edges_of_range(index: LshIndex, column: int, number: int, passes: int) -> npt.NDArray[np.int64]:
    """The edges of the keys in one of ``passes`` equal ranges."""
    low, high = (2**64 * number // passes, 2**64 * (number + 1) // passes - 1)
    found_keys, found_ids = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for part in index.parts:
        for first, keys in part.column(column):
            chosen = np.flatnonzero((keys >= np.uint64(low)) & (keys <= np.uint64(high)))
            found_keys.append(keys[chosen])
            found_ids.append(chosen + first)
    keys, ids = np.concatenate(found_keys), np.concatenate(found_ids)
    del found_keys, found_ids
    order = np.argsort(keys)
    keys, ids = keys[order], ids[order]
    begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else np.empty(0, np.int64)
    sizes = np.diff(np.append(begins, len(keys)))
    if len(begins) == 0:
        return np.empty((0, 2), np.int64)
    firsts = np.repeat(np.minimum.reduceat(ids, begins), sizes)
    shared = np.repeat((sizes > 1) & (np.maximum.reduceat(ids, begins) >= index.known), sizes) & (ids != firsts)
    return np.stack((firsts[shared], ids[shared]), axis=1)


def join(parents: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> None:
    """Join the clusters at both ends of every edge; a parent is never larger than its child."""
    a, b = edges[:, 0], edges[:, 1]
    while len(a):
        a, b = roots(parents, a), roots(parents, b)
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        parents[b] = a


def roots(parents: npt.NDArray[np.int64], documents: Offsets) -> Offsets:
    """The smallest document of each one's cluster."""
    found = parents[documents]
    while True:
        above = parents[found]
        if np.array_equal(above, found):
            parents[documents] = found
            return found
        found = parents[above]


class Settled(NamedTuple):
    """What became of some clusters."""

    removed: npt.NDArray[Any]
    """``REMOVED`` records."""
    compared: int
    """Pairs whose n-grams were compared."""


def settle(index: LshIndex, documents: Offsets, threshold: float, is_crowd: bool = False) -> Settled:
    """Choose among whole clusters.

    Args:
        documents: sorted.
        is_crowd: they are one large cluster; the same stay, and it is faster.
    """
    records = index.records(documents)
    known = documents < index.known
    order = np.lexsort((documents, np.where(known, 0.0, -records["score"]), ~known))
    digests = records["digest"].copy()
    sets = ShingleSets(index, documents, records, threshold)
    keys = index.keys(documents)
    staying = Crowd(sets, keys, threshold) if is_crowd else shared_values(keys.T, len(documents))
    removed, compared = [], 0
    for position in order.tolist():
        twin, jaccard, exact = -1, 1.0, False
        others = _NONE if known[position] else staying.with_document(position)
        if len(others):
            equal = others[(digests[others] == digests[position]).all(axis=1)]
            if exact := len(equal) > 0:
                twin = int(equal[0])
            else:
                for other in sets.likely(position, others).tolist():
                    compared += 1
                    jaccard = sets.jaccard(position, other)
                    if jaccard >= threshold:
                        twin = other
                        break
        if twin < 0:
            staying.stay(position)
        else:
            removed.append((documents[position], documents[twin], jaccard, exact))
    return Settled(np.array(removed, REMOVED), compared)
