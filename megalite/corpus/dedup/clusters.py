"""Clusters of candidate documents, and the choice of the documents to keep.

Documents that share a bucket are joined to clusters (union-find over all edges at once, as in Shiloach and Vishkin 1982), so
that each cluster is settled on its own. Its documents are visited in the order of ``keep``; one is removed if it equals a
kept one, or if its exact Jaccard similarity to a kept one reaches the threshold. So no document is removed without a kept
copy, a chain of small edits removes no document that differs from all kept ones, and no two kept documents are known
near-duplicates.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megalite.corpus.dedup.kept_members import shared_values
from megalite.corpus.dedup.large_cluster import LargeCluster
from megalite.corpus.dedup.lsh_index import LshIndex
from megalite.corpus.dedup.shingle_sets import ShingleSets
from megalite.corpus.words.word_hashes import Offsets

REMOVED = np.dtype([("document", "<i8"), ("twin", "<i8"), ("jaccard", "<f8"), ("exact", "?")])
_NONE = np.empty(0, np.int64)


def bucket_edges(index: LshIndex, column: int, memory_bytes: int) -> npt.NDArray[np.int64]:
    """``(edges, 2)``: every document that shares this column's key with an earlier one, and the first of that key.

    Buckets without a new document are skipped.
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
    """Join the clusters at both ends of every edge. A parent is never larger than its child."""
    a, b = edges[:, 0], edges[:, 1]
    while len(a):
        a, b = roots(parents, a), roots(parents, b)
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        parents[b] = a


def roots(parents: npt.NDArray[np.int64], documents: Offsets) -> Offsets:
    """The smallest document of each document's cluster."""
    found = parents[documents]
    while True:
        above = parents[found]
        if np.array_equal(above, found):
            parents[documents] = found
            return found
        found = parents[above]


class Settled(NamedTuple):
    """The result for some clusters."""

    removed: npt.NDArray[Any]
    """``REMOVED`` records."""
    compared: int
    """Pairs whose n-grams were compared."""


def settle(index: LshIndex, documents: Offsets, threshold: float, is_large: bool = False) -> Settled:
    """Choose the documents to keep in whole clusters.

    Args:
        documents: sorted.
        is_large: they are one large cluster; the result is the same, but faster.
    """
    records = index.records(documents)
    known = documents < index.known
    order = np.lexsort((documents, np.where(known, 0.0, -records["score"]), ~known))
    digests = records["digest"].copy()
    sets = ShingleSets(index, documents, records, threshold)
    keys = index.keys(documents)
    kept = LargeCluster(sets, keys, threshold) if is_large else shared_values(keys.T, len(documents))
    removed, compared = [], 0
    for position in order.tolist():
        twin, jaccard, exact = -1, 1.0, False
        others = _NONE if known[position] else kept.with_document(position)
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
            kept.keep(position)
        else:
            removed.append((documents[position], documents[twin], jaccard, exact))
    return Settled(np.array(removed, REMOVED), compared)
