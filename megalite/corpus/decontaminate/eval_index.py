"""The n-grams of evaluation items, and where they occur in documents (Brown et al. 2020, arXiv:2005.14165, appendix C)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megalite.corpus.decontaminate.eval_items import EvalItem
from megalite.corpus.words.word_hashes import BLOCK, Hashes, Offsets, Words, hash_words, ngrams, ngrams_at

BITS_A_GRAM = 16
"""Of the first look: one in so many foreign n-grams gets past it."""


class Found(NamedTuple):
    """The evaluation items in one document."""

    items: Counter[int]
    """How many n-grams of each item stand in the document, by the item's number."""
    word: int
    """The first word of the first n-gram found, counted in the block."""
    words: int
    """Its length."""


class EvalIndex:
    """All items' n-grams. An item with fewer words is looked for as a whole, down to ``min_words``."""

    def __init__(self, items: Iterable[EvalItem], n: int, min_words: int) -> None:
        self.items: list[EvalItem] = []
        self.grams: list[int] = []
        """How many different n-grams each item has."""
        self.too_short: Counter[str] = Counter()
        """Texts by file that have too few words to be looked for."""
        self._shortest = min(n, min_words)
        hashes: dict[int, list[Hashes]] = {}
        owners: dict[int, list[Offsets]] = {}
        beginnings = [np.empty(0, np.uint64)]
        for block in _blocks(items):
            words = hash_words([item.text for item in block])
            runs = ngrams(words, n)  # of an item with fewer words: one run of all of them
            begins = ngrams(words, self._shortest)
            for number, (item, count) in enumerate(zip(block, np.diff(words.bounds).tolist(), strict=True)):
                length = min(n, count)
                if length < self._shortest:
                    self.too_short[item.path] += 1
                    continue
                grams = np.unique(runs.hashes[runs.bounds[number] : runs.bounds[number + 1]])
                hashes.setdefault(length, []).append(grams)
                owners.setdefault(length, []).append(np.full(len(grams), len(self.items)))
                beginnings.append(begins.hashes[begins.bounds[number] :][: count - length + 1])
                self.items.append(item)
                self.grams.append(len(grams))
        self._seen = _Seen(np.concatenate(beginnings))
        self._tables = [_Table(length, hashes[length], owners[length]) for length in sorted(hashes, reverse=True)]

    def find(self, words: Words) -> dict[int, Found]:
        """The items found in each document of a block that has any."""
        begins = ngrams(words, self._shortest)
        maybe = begins.words[self._seen.may_hold(begins.hashes)]
        documents = np.searchsorted(words.bounds, maybe, side="right") - 1
        hits = [table.find(words, maybe, documents) for table in self._tables]
        lengths = np.repeat([table.length for table in self._tables], [len(items) for _, items in hits])
        at = np.concatenate([at for at, _ in hits]) if hits else np.empty(0, np.int64)
        if len(at) == 0:
            return {}
        items = np.concatenate([items for _, items in hits])
        documents = np.searchsorted(words.bounds, at, side="right") - 1
        found = {}
        for document in np.unique(documents).tolist():
            mine = documents == document
            first = np.lexsort((-lengths[mine], at[mine]))[0]
            found[document] = Found(Counter(items[mine].tolist()), int(at[mine][first]), int(lengths[mine][first]))
        return found


def _blocks(items: Iterable[EvalItem]) -> Iterator[list[EvalItem]]:
    block: list[EvalItem] = []
    letters = 0
    for item in items:
        block.append(item)
        letters += len(item.text)
        if letters > BLOCK:
            yield block
            block, letters = [], 0
    yield block


class _Seen:
    """A bit set of the beginnings of all n-grams: a cheap first test for every word of a corpus."""

    def __init__(self, hashes: Hashes) -> None:
        bits = 1 << (len(hashes) * BITS_A_GRAM).bit_length()
        self._mask = np.uint64(bits - 1)
        self._bits: npt.NDArray[np.bool_] = np.zeros(bits, np.bool_)
        self._bits[hashes & self._mask] = True

    def may_hold(self, hashes: Hashes) -> Offsets:
        """The positions of the ``hashes`` that may be among them."""
        return np.flatnonzero(self._bits[hashes & self._mask])


class _Table:
    """The n-grams of one length, sorted, each with its items."""

    def __init__(self, length: int, hashes: Sequence[Hashes], owners: Sequence[Offsets]) -> None:
        self.length = length
        every, owner = np.concatenate(hashes), np.concatenate(owners)
        order = np.lexsort((owner, every))
        self._hashes, self._owners = every[order], owner[order]

    def find(self, words: Words, at: Offsets, documents: Offsets) -> tuple[Offsets, Offsets]:
        """The first word and the item of each n-gram found; once for every different n-gram of a document.

        Args:
            at: the words to test.
            documents: the document of each word.
        """
        inside = at + self.length <= words.bounds[documents + 1]
        at, documents = at[inside], documents[inside]
        hashes = ngrams_at(words, at, self.length)
        low = np.searchsorted(self._hashes, hashes, side="left")
        counts = np.searchsorted(self._hashes, hashes, side="right") - low
        held = counts > 0
        at, documents, low, counts = at[held], documents[held], low[held], counts[held]
        _, firsts = np.unique(np.stack((documents, low)), axis=1, return_index=True)
        at, low, counts = at[firsts], low[firsts], counts[firsts]
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(at, counts), self._owners[np.repeat(low, counts) + steps]
