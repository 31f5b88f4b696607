r"""64-bit hashes of words and n-grams, for a whole block of documents at a time.

A word is a match of ``\w+`` in lower case; in scripts without spaces (Chinese, Japanese, Thai ...) each letter is a word.
A word's hash is a polynomial in its letters, so one cumulative sum gives all words of a block. The hashes are the same in
every process and on every machine.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]

BLOCK = 1 << 17
"""UTF-16 units of a block; small enough for its arrays to stay in the L2 cache."""
LONG_TEXT = 1 << 20
"""Number of letters above which a text is hashed in pieces."""
BASE = 0x9E3779B97F4A7C15
"""Odd, so that its powers have inverses modulo 2**64."""
UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x9FFF),  # Han
    (0xD800, 0xDFFF),  # half a letter beyond the basic plane
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
)
"""Scripts without spaces between words (Unicode 17, Blocks.txt), first and last code point."""
SPACED = (0x1800, 0x303F)
"""A gap between them: in most texts the highest code points are quotation marks and dashes."""


class Words(NamedTuple):
    """The words of a block of documents."""

    hashes: Hashes
    starts: Offsets
    """Start of each word, in UTF-16 units of the block."""
    bounds: Offsets
    """``(documents + 1,)``: the words of document ``i`` are ``bounds[i]:bounds[i + 1]``."""
    units: Offsets
    """Start of each document, in UTF-16 units of the block."""


class Ngrams(NamedTuple):
    """The n-grams of a block of documents."""

    hashes: Hashes
    words: Offsets
    """Number of the first word of each."""
    bounds: Offsets
    """``(documents + 1,)``: the n-grams of document ``i`` are ``bounds[i]:bounds[i + 1]``."""


def mix(values: Hashes) -> Hashes:
    """Applies the finalizer of SplitMix64 (Steele et al. 2014, OOPSLA) in place; each bit affects half the output bits."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(values, np.uint64(27), out=shifted)
    values ^= shifted
    values *= np.uint64(0x94D049BB133111EB)
    np.right_shift(values, np.uint64(31), out=shifted)
    values ^= shifted
    return values


def hash_words(texts: Sequence[str]) -> Words:
    """Hashes the words of all texts. Lone surrogates count as letters."""
    units = np.frombuffer("\n".join(texts).encode("utf-16-le", "surrogatepass"), np.uint16)
    lengths = [len(text) + 1 for text in texts]
    if sum(lengths) != len(units) + 1:  # some letters have two units
        lengths = [len(text.encode("utf-16-le", "surrogatepass")) // 2 + 1 for text in texts]
    documents = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    powers, inverses, sums = _powers(1 << max(len(units), BLOCK).bit_length())
    sums = sums[: len(units) + 1]
    _tables().letters.take(units.astype(np.intp), out=sums[1:], mode="clip")
    edges = _edges(units, sums[1:] != 0)
    sums[1:] *= powers[: len(units)]
    np.cumsum(sums, out=sums)
    at_edges, starts = sums[edges], edges[0::2].copy()
    hashes = mix((at_edges[1::2] - at_edges[0::2]) * inverses[starts])
    return Words(hashes, starts, np.searchsorted(starts, documents), documents[:-1])


def ngrams(words: Words, n: int) -> Ngrams:
    """Hashes all n-grams of each document. A document with fewer than n words has one n-gram, one without words none."""
    total, counts = len(words.hashes), np.diff(words.bounds)
    if total == 0:
        return Ngrams(words.hashes, words.starts, words.bounds)
    padded = np.concatenate((words.hashes, np.zeros(n - 1, np.uint64)))
    sums = padded[:total].copy()
    for j in range(1, n):
        sums *= np.uint64(BASE)
        sums += padded[j : j + total]
    inside = np.arange(n, total + n) <= np.repeat(words.bounds[1:], counts)
    for document in np.flatnonzero((counts > 0) & (counts < n)):
        first, end = words.bounds[document : document + 2]
        sums[first] = _run(words.hashes[first:end])
        inside[first] = True
    chosen = np.flatnonzero(inside)
    kept = np.where(counts >= n, counts - n + 1, np.minimum(counts, 1))
    return Ngrams(mix(sums[chosen]), chosen, np.concatenate(([0], np.cumsum(kept))))


def ngrams_at(words: Words, at: Offsets, n: int) -> Hashes:
    """Returns the hashes, as in ``ngrams``, of the n-grams that begin at the words ``at`` and end in the block."""
    sums = words.hashes[at]
    for j in range(1, n):
        sums *= np.uint64(BASE)
        sums += words.hashes[at + j]
    return mix(sums)


def ngrams_of_long_text(text: str, n: int, letters: int) -> Iterator[Ngrams]:
    """Hashes the n-grams of one text in pieces, for texts whose arrays would not fit in memory.

    Each piece ends at the last space or newline within ``letters``, or after ``letters`` if there is none.
    """
    carried = np.empty(0, np.uint64)
    start = done = 0
    while start < len(text):
        end = start + letters
        if end < len(text):
            space = max(text.rfind(mark, start + 1, end) for mark in " \n\t")
            end = end if space < 0 else space
        hashes = np.concatenate((carried, hash_words([text[start:end]]).hashes))
        start = end
        if len(hashes) >= n or (start >= len(text) and done == 0):
            bounds = np.array([0, len(hashes)])
            yield ngrams(Words(hashes, bounds, bounds, bounds), n)
            done += len(hashes)
            hashes = hashes[len(hashes) - n + 1 :]
        carried = hashes


def _run(hashes: Hashes) -> int:
    value = 0
    for word in hashes.tolist():
        value = (value * BASE + word) % 2**64
    return value


def _edges(units: npt.NDArray[np.uint16], letters: npt.NDArray[np.bool_]) -> Offsets:
    """Returns the start and end of each word, alternating."""
    inside = np.zeros(len(units) + 2, np.bool_)
    inside[1:-1] = letters
    if not ((units >= UNSPACED[0][0]) & ((units < SPACED[0]) | (units > SPACED[1]))).any():
        return np.flatnonzero(inside[1:] != inside[:-1])
    alone = np.zeros(len(units) + 2, np.bool_)
    alone[1:-1] = _tables().alone[units]
    starts = letters & (alone[1:-1] | alone[:-2] | ~inside[:-2])
    ends = letters & (alone[1:-1] | alone[2:] | ~inside[2:])
    return np.stack((np.flatnonzero(starts), np.flatnonzero(ends) + 1), axis=1).ravel()


class _Tables(NamedTuple):
    """One entry for each UTF-16 unit."""

    alone: npt.NDArray[np.bool_]
    """Whether it is a word by itself."""
    letters: Hashes
    """The hash of its lower case; 0 if it is not part of a word."""


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    letters = [chr(code) for code in range(1 << 16)]
    inside = np.array([unicodedata.category(letter)[0] in "LMN" for letter in letters])
    alone = np.zeros(1 << 16, np.bool_)
    for first, last in UNSPACED:
        alone[first : last + 1] = inside[first : last + 1]
    inside[0xD800:0xE000] = alone[0xD800:0xE000] = inside[ord("_")] = True
    lower = [ord(low) if len(low := letter.lower()) == 1 else ord(letter) for letter in letters]
    return _Tables(alone, np.where(inside, mix(np.array(lower, np.uint64)) | np.uint64(1), np.uint64(0)))


@lru_cache(maxsize=2)
def _powers(size: int) -> tuple[Hashes, Hashes, Hashes]:
    """Returns ``BASE**i`` and ``BASE**-i`` modulo 2**64, and a buffer of zeros for a cumulative sum."""
    both = []
    for base in (BASE, pow(BASE, -1, 2**64)):
        values = np.full(size, base, np.uint64)
        values[0] = 1
        both.append(np.cumprod(values))
    return both[0], both[1], np.zeros(size + 1, np.uint64)
