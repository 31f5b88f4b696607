"""Statistics of an indexed dataset: documents, lengths, and the number of occurrences of each id."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset

CHUNK = 1 << 22
MOST_FREQUENT = 20
MOST_IDS = 1 << 27
"""Largest id that is counted: sixty times the largest vocabularies; its counts take a gigabyte."""
PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Lengths:
    """Lengths of the documents in tokens, with end-of-document tokens."""

    mean: float
    p5: float
    median: float
    p95: float
    longest: int
    empty: int
    histogram: tuple[tuple[int, int, int], ...]
    """``(from, to, documents)`` for ranges that double in size; both ends are included."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of all tokens and documents."""

    documents: int
    sequences: int
    tokens: int
    dtype: str
    bytes: int
    """Of the ``.bin``."""
    lengths: Lengths
    distinct_ids: int
    largest_id: int
    most_frequent: tuple[tuple[int, int], ...]
    """``(id, tokens)``, the most frequent first."""
    counts: np.ndarray
    """Number of tokens of each id up to the largest."""

    def occurrences(self, token: int) -> int:
        """Number of occurrences of an id."""
        return int(self.counts[token]) if token <= self.largest_id else 0

    def vocabulary_used(self, vocab_size: int) -> float:
        """Share of the vocabulary that occurs."""
        return int(np.count_nonzero(self.counts[:vocab_size])) / vocab_size

    def to_json(self) -> dict[str, Any]:
        """Everything except the counts per id."""
        values = asdict(self)
        del values["counts"]
        return values


def dataset_statistics(dataset: IndexedDataset, advance: Callable[[int], object]) -> Statistics:
    """Read the dataset once. Memory grows with the number of documents (8 bytes each) and with the largest id.

    Args:
        advance: called with the tokens that were read since the last call.
    """
    counts = np.zeros(0, dtype=np.int64)
    for start in range(0, dataset.num_tokens, CHUNK):
        tokens = dataset.read(start, min(CHUNK, dataset.num_tokens - start))
        smallest, largest = int(tokens.min()), int(tokens.max())
        if smallest < 0 or largest >= MOST_IDS:
            wrong = smallest if smallest < 0 else largest
            raise DataError(
                f"{dataset.prefix}.bin: id {wrong} is in no vocabulary; the file does not contain token ids"
            )
        found = np.bincount(tokens, minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
        advance(len(tokens))
    order = np.argsort(-counts, kind="stable")[:MOST_FREQUENT]
    return Statistics(
        documents=dataset.num_documents,
        sequences=len(dataset),
        tokens=dataset.num_tokens,
        dtype=dataset.dtype.name,
        bytes=dataset.num_tokens * dataset.dtype.itemsize,
        lengths=_lengths(dataset),
        distinct_ids=int(np.count_nonzero(counts)),
        largest_id=len(counts) - 1,
        most_frequent=tuple((int(token), int(counts[token])) for token in order if counts[token]),
        counts=counts,
    )


def _lengths(dataset: IndexedDataset) -> Lengths:
    lengths = np.empty(dataset.num_documents, dtype=np.int64)
    for start in range(0, len(lengths), CHUNK):
        bounds = np.asarray(dataset.index.boundaries[start : start + CHUNK + 1], dtype=np.int64)
        first, last = bounds[0], bounds[-1]
        before = np.zeros(last - first + 1, dtype=np.int64)
        np.cumsum(dataset.index.lengths[first:last], out=before[1:])
        lengths[start : start + len(bounds) - 1] = np.diff(before[bounds - first])
    if not len(lengths):
        return Lengths(0.0, 0.0, 0.0, 0.0, 0, 0, ())
    p5, median, p95 = np.percentile(lengths, PERCENTILES).tolist()
    longest = int(lengths.max())
    edges = [0, *(1 << power for power in range(longest.bit_length() + 1))]
    bars = np.histogram(lengths, [*edges, edges[-1] + 1])[0][: len(edges) - 1].tolist()
    histogram = [(low, high - 1, bar) for low, high, bar in zip(edges, edges[1:], bars, strict=False)]
    used = [number for number, (_, _, bar) in enumerate(histogram) if bar]
    return Lengths(
        mean=float(lengths.mean()),
        p5=p5,
        median=median,
        p95=p95,
        longest=longest,
        empty=int(np.count_nonzero(lengths == 0)),
        histogram=tuple(histogram[used[0] : used[-1] + 1]),
    )
