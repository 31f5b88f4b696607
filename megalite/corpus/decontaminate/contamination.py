"""Comparison of documents with an index of evaluation items: which items they contain, and where."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from megalite.config.bounds import unit
from megalite.config.section import Section
from megalite.corpus.decontaminate.eval_index import EvalIndex
from megalite.corpus.dedup.minhash import MOST_WORDS
from megalite.corpus.words.word_hashes import BLOCK, LONG_TEXT, Words, hash_words
from megalite.files.readers.documents import Document

ITEMS_NAMED = 5
EXCERPT = 300
OVERLAP = 1 << 12
"""Characters that neighboring pieces of a long text share, so that no n-gram is cut."""


class Contamination(Section):
    """What counts as contaminated."""

    ngram: Annotated[int, unit("words")] = Field(default=13, ge=1, le=MOST_WORDS)
    """Number of consecutive words that a document and an item must share; 13 as for GPT-3 (Brown et al. 2020,
    arXiv:2005.14165, appendix C)."""
    min_words: Annotated[int, unit("words")] = Field(default=8, ge=1, le=MOST_WORDS)
    """Minimum length of an item. An item shorter than an n-gram must occur as a whole."""
    min_overlap: float = Field(default=0.0, ge=0.0, le=1.0)
    """Minimum share of an item's n-grams that a document must contain; at 0 a single one is enough."""
    eval_keys: tuple[str, ...] = ()
    """Keys of an item to look for; empty looks for all its texts."""


class _Hit(NamedTuple):
    """The items found in one text."""

    items: Counter[int]
    """Number of n-grams found of each item."""
    character: int
    """Start of the first of them, in characters."""
    matched: str


def examine(
    documents: Iterator[Document], index: EvalIndex, rule: Contamination
) -> Iterator[tuple[Document, dict[str, Any] | None]]:
    """Yield every document, in order, with the record of its contamination, or None if it has none."""
    block: list[Document] = []
    letters = 0
    for document in documents:
        if block and letters + len(document.text) > BLOCK:
            yield from _examine_block(block, index, rule)
            block, letters = [], 0
        block.append(document)
        letters += len(document.text)
    if block:
        yield from _examine_block(block, index, rule)


def _examine_block(
    block: list[Document], index: EvalIndex, rule: Contamination
) -> Iterator[tuple[Document, dict[str, Any] | None]]:
    if len(block) == 1 and len(block[0].text) > LONG_TEXT:
        hit = _hit_in_long_text(block[0].text, index)
        hits = {} if hit is None else {0: hit}
    else:
        hits = _hits([document.text for document in block], index)
    for number, document in enumerate(block):
        yield document, _record(document, hits[number], index, rule) if number in hits else None


def _hits(texts: Sequence[str], index: EvalIndex) -> dict[int, _Hit]:
    words = hash_words(texts)
    hits = {}
    for number, found in index.find(words).items():
        last = found.word + found.words
        begin = _character(texts[number], words, number, found.word)
        end = _character(texts[number], words, number, last) if last < words.bounds[number + 1] else None
        hits[number] = _Hit(found.items, begin, texts[number][begin:end].strip())
    return hits


def _character(text: str, words: Words, document: int, word: int) -> int:
    """Where a word of a document begins, in characters."""
    units = int(words.starts[word] - words.units[document])
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "surrogatepass"))


def _hit_in_long_text(text: str, index: EvalIndex) -> _Hit | None:
    """A piece at a time, so that the arrays fit the memory; an n-gram in two pieces is counted twice."""
    total: _Hit | None = None
    for start in range(0, len(text), LONG_TEXT):
        begin = max(0, start - OVERLAP)
        for hit in _hits([text[begin : start + LONG_TEXT]], index).values():
            total = total or _Hit(Counter(), begin + hit.character, hit.matched)
            total.items.update(hit.items)
    return total


def _record(document: Document, hit: _Hit, index: EvalIndex, rule: Contamination) -> dict[str, Any] | None:
    """The line of a contaminated document; None if no item reaches the minimum overlap."""
    shares = [(number, min(count, index.grams[number])) for number, count in hit.items.items()]
    shares = [(number, count) for number, count in shares if count >= rule.min_overlap * index.grams[number]]
    if not shares:
        return None
    shares.sort(key=lambda pair: (-pair[1], pair[0]))
    named = [
        {"path": item.path, "item": item.item, "field": item.field, "ngrams": count, "of": index.grams[number]}
        for number, count in shares[:ITEMS_NAMED]
        for item in (index.items[number],)
    ]
    return {
        "path": document.path,
        "line": document.line,
        "character": hit.character,
        "matched": hit.matched[:EXCERPT],
        "items": named,
        "items_found": len(shares),
    }
