"""Candidate pairs to clusters that fit the memory: the passes over all documents of a deduplication."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megalite.config.errors import DataError
from megalite.corpus.dedup.clusters import bucket_edges, roots
from megalite.corpus.dedup.large_cluster import LARGE
from megalite.corpus.dedup.lsh_index import LshIndex
from megalite.corpus.words.word_hashes import Offsets
from megalite.jobs.notes import write_array

BYTES_A_DOCUMENT = 24
"""Memory for each document while pairs are joined to clusters."""
BYTES_A_CANDIDATE = 2048
"""Memory for each document of the clusters that are being settled."""


def check_memory(index: LshIndex, memory_bytes: int) -> None:
    """Raises: DataError if pairs of so many documents do not fit the memory."""
    if index.documents * BYTES_A_DOCUMENT > memory_bytes:
        needed = index.documents * BYTES_A_DOCUMENT // 2**20
        raise DataError(f"{index.documents:,} documents need {needed:,} MB more than --memory_mb leaves; raise it")


def save_edges(index: LshIndex, path: Path, memory_bytes: int, column: int) -> None:
    """Write the pairs of documents that share a key of this column."""
    write_array(path, bucket_edges(index, column, memory_bytes))


def connected(parents: npt.NDArray[np.int64]) -> tuple[Offsets, Offsets]:
    """The documents that have a partner, cluster by cluster and sorted within each, and where each cluster ends."""
    children = np.flatnonzero(parents != np.arange(len(parents)))
    tops = roots(parents, children)
    documents = np.concatenate((np.unique(tops), children))
    tops = np.concatenate((np.unique(tops), tops))
    order = np.lexsort((documents, tops))
    tops = tops[order]
    ends = np.append(np.flatnonzero(tops[1:] != tops[:-1]) + 1, len(tops)) if len(tops) else tops
    return documents[order], ends


def batches(ends: Offsets, size: int) -> Iterator[tuple[int, int, bool]]:
    """Yield ``(begin, end, is_large)`` of batches of whole clusters with up to ``size`` documents.

    A large cluster is a batch of its own, so that its result does not depend on its neighbors.

    Raises: DataError if a cluster has more documents than ``size``.
    """
    sizes = np.diff(ends, prepend=0)
    if len(sizes) and (largest := int(sizes.max())) > size:
        needed = largest * BYTES_A_CANDIDATE // 2**20
        raise DataError(
            f"{largest:,} documents are connected as candidates and need {needed:,} MB a worker; raise --memory_mb, "
            f"give fewer --workers, or more --rows"
        )
    begin = end = 0
    for count in sizes.tolist():
        is_large = count >= LARGE
        if end > begin and (is_large or end + count - begin > size):
            yield begin, end, False
            begin = end
        end += count
        if is_large:
            yield begin, end, True
            begin = end
    if end > begin:
        yield begin, end, False
