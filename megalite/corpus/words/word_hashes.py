r"""Texts to 64-bit hashes of their words and of their runs of words, a whole block of documents at a time.

A word is what ``\w+`` matches, in lower case; a letter of a script that is written without spaces (Chinese, Japanese,
Thai ...) is a word of its own. A word's hash is a polynomial in its letters, so that all words of a block come from one
running sum; hashes are the same in every process and on every machine.
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
"""UTF-16 units of a block: its arrays stay in the processor's second-level cache."""
LONG_TEXT = 1 << 20
"""Letters from which on a text is not hashed in one piece."""
BASE = 0x9E3779B97F4A7C15
"""An odd number, so that its powers have inverses modulo 2**64."""
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
"""Scripts without spaces between words (Unicode 17, Blocks.txt), first to last."""
SPACED = (0x1800, 0x303F)
"""Between them: a text whose rarest letters are quotation marks and dashes is the usual case."""


class Words(NamedTuple):
    """The words of a block of documents."""

    hashes: Hashes
    starts: Offsets
    """Where each word begins, in UTF-16 units of the block."""
    bounds: Offsets
    """``(documents + 1,)``: document ``i`` has the words ``bounds[i]:bounds[i + 1]``."""
    units: Offsets
    """Where each document begins, in UTF-16 units of the block."""


class Ngrams(NamedTuple):
    """The runs of n words of a block of documents."""

    hashes: Hashes
    words: Offsets
    """The first word of each."""
    bounds: Offsets
    """``(documents + 1,)``: document ``i`` has ``bounds[i]:bounds[i + 1]``."""


def mix(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele et al. 2014, OOPSLA): every bit in changes half the bits out. In place."""
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
    """The words of all texts; lone surrogates are letters like others."""
    units = np.frombuffer("\n".join(texts).encode("utf-16-le", "surrogatepass"), np.uint16)
    lengths = [len(text) + 1 for text in texts]
    if sum(lengths) != len(units) + 1:  # some letters take two units
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
    """All runs of ``n`` words within a document. One with fewer words has one run, of all of them; one without, none."""
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
    """The hashes that ``ngrams`` gives to the runs of ``n`` words that begin at these words, and end in the block."""
    sums = words.hashes[at]
    for j in range(1, n):
        sums *= np.uint64(BASE)
        sums += words.hashes[at + j]
    return mix(sums)


def ngrams_of_long_text(text: str, n: int, letters: int) -> Iterator[Ngrams]:
    """The n-grams of one text in pieces, for a text whose arrays would not fit the memory.

    It is cut at the last space or line end before every ``letters``, or there where there is none.
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
    """Where words begin and end, in turn."""
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
    """For every UTF-16 unit."""

    alone: npt.NDArray[np.bool_]
    """It is a word of its own."""
    letters: Hashes
    """The hash of its lower case; 0 where it does not belong to a word."""


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
    """``BASE**i`` and ``BASE**-i`` modulo 2**64, and room for a sum, which begins with 0."""
    both = []
    for base in (BASE, pow(BASE, -1, 2**64)):
        values = np.full(size, base, np.uint64)
        values[0] = 1
        both.append(np.cumprod(values))
    return both[0], both[1], np.zeros(size + 1, np.uint64)
