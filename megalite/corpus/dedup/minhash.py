"""MinHash signatures cut into bands: documents that share a band's key are candidates (Broder 1997; Indyk and Motwani 1998).

A pair at Jaccard similarity ``s`` becomes a candidate pair with probability ``1 - (1 - s**rows)**bands``. Candidates are
compared exactly later, so the bands are chosen for recall, not for precision.
"""

from functools import lru_cache
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from megalite.config.bounds import unit
from megalite.config.section import Section
from megalite.corpus.words.word_hashes import BASE, Hashes, Ngrams, mix

SEED = 0x6D696E68617368
MOST_MINIMA = 4096
"""Limit for the minima of a document: 16 KB."""
MOST_WORDS = 1000
"""Limit for the words of an n-gram."""


class Bands(Section):
    """What counts as a near-duplicate, and how candidates are found."""

    threshold: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity of the sets of n-grams from which on two documents are near-duplicates."""
    ngram: Annotated[int, unit("words")] = Field(default=5, ge=1, le=MOST_WORDS)
    """Length of an n-gram."""
    bands: Annotated[int, unit("bands")] = Field(default=20, ge=1, le=MOST_MINIMA)
    """Number of MinHash bands; two documents are candidates if at least one band is equal. More bands find more pairs
    and take more memory."""
    rows: Annotated[int, unit("minima")] = Field(default=6, ge=1, le=MOST_MINIMA)
    """Minima in a band; all of them must be equal. More rows find fewer candidates."""

    @model_validator(mode="after")
    def _not_too_many(self) -> "Bands":
        if self.bands * self.rows > MOST_MINIMA:
            raise ValueError(
                f"bands={self.bands} times rows={self.rows} are more than {MOST_MINIMA:,} minima of a document; lower one"
            )
        return self

    def chance(self, jaccard: float) -> float:
        """The probability that a pair at this similarity becomes a candidate pair."""
        return 1.0 - (1.0 - jaccard**self.rows) ** self.bands


def signatures(grams: Ngrams, permutations: int) -> npt.NDArray[np.uint32]:
    """``(documents, permutations)`` minima; all ones for a document without n-grams.

    A permutation is the multiplication of the hash's upper half by an odd number modulo 2**32.
    """
    filled = np.flatnonzero(np.diff(grams.bounds))
    found = np.empty((permutations, len(filled)), np.uint32)
    starts = grams.bounds[filled]
    values = (grams.hashes >> np.uint64(32)).astype(np.uint32)
    permuted = np.empty_like(values)
    for number, factor in enumerate(_odd_numbers(permutations) if len(filled) else ()):
        np.multiply(values, factor, out=permuted)
        np.minimum.reduceat(permuted, starts, out=found[number])
    minima = np.full((len(grams.bounds) - 1, permutations), 0xFFFFFFFF, np.uint32)
    minima[filled] = found.T
    return minima


def band_keys(minima: npt.NDArray[np.uint32], bands: int) -> Hashes:
    """``(documents, bands)``: a 64-bit key of each band's rows."""
    documents, permutations = minima.shape
    rows = minima.reshape(documents, bands, permutations // bands)
    keys = np.broadcast_to(np.arange(1, bands + 1, dtype=np.uint64), (documents, bands)).copy()
    for row in range(rows.shape[2]):
        keys *= np.uint64(BASE)
        keys += rows[:, :, row]
    return mix(keys)


@lru_cache(maxsize=1)
def _odd_numbers(count: int) -> list[np.uint32]:
    numbers = mix(np.arange(SEED, SEED + count, dtype=np.uint64))
    return list((numbers >> np.uint64(32)).astype(np.uint32) | np.uint32(1))
