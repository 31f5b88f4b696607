"""Recall and precision of the chosen bands on the user's own text, measured with edited copies of its documents.

The true similarities are computed here from sets of words and share no hash with the deduplication.
"""

import hashlib
import heapq
import json
import random
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from megalite.config.errors import DataError
from megalite.corpus.dedup.deduplicate import deduplicate
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.words.word_hashes import UNSPACED
from megalite.files.readers.documents import Document, read_documents
from megalite.files.readers.input_files import expand_inputs

DOCUMENTS = 2000
"""Documents drawn from the input; each gets one edited copy."""
LETTERS = 20_000
"""Characters used of a long document: its beginning."""
FEWEST_WORDS = 40
BINS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


class Pair(NamedTuple):
    """A document and its edited copy."""

    jaccard: float
    found: bool


class Audit(NamedTuple):
    """The measurement."""

    recall: float
    """Share of the pairs at or above the threshold of which one document was removed."""
    precision: float
    """Share of the removed documents whose kept twin is at or above the threshold."""
    pairs: list[Pair]


def audit(
    inputs: Sequence[str],
    bands: Bands,
    text_key: str,
    console: Console,
    workers: int = 1,
    memory_mb: int = 2048,
    max_malformed: float | None = None,
) -> Audit:
    """Print and return recall and precision. Raises: DataError if no document of the input is long enough."""
    read = read_documents(expand_inputs(inputs), text_key, max_malformed=max_malformed)
    texts = [document.text[:LETTERS] for document in _drawn(read)]
    if not texts:
        raise DataError(f"{', '.join(inputs)}: no document has {FEWEST_WORDS} words; there is nothing to measure")
    rng = random.Random(len(texts))
    pool = [word for text in texts[:200] for word in _word().findall(text)[:200]]
    copies = [edited(text, rng.uniform(0.4, 1.0), bands.ngram, pool, rng) for text in texts]
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "copies.jsonl", Path(name) / "out"
        source.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in (*texts, *copies)))
        quiet = Console(quiet=True)
        deduplicate([str(source)], output, bands, quiet, workers=workers, memory_mb=memory_mb)
        removed = [json.loads(line) for line in (output / "removed.jsonl").read_text().splitlines()]
    result = _judged(texts, copies, {entry["line"] - 1: entry["kept_line"] - 1 for entry in removed}, bands)
    _print(result, bands, console)
    return result


def edited(text: str, jaccard: float, ngram: int, pool: Sequence[str], rng: random.Random) -> str:
    """A copy at about this similarity: random words are replaced, removed or inserted."""
    words = list(_word().finditer(text))
    touched = round(len(words) * (1 - jaccard) / (1 + jaccard) / ngram)
    for word in sorted(rng.sample(words, min(touched, len(words))), key=lambda match: -match.start()):
        change = rng.choice(("replace", "leave out", "put in"))
        new = "" if change == "leave out" else f" {rng.choice(pool)} "
        text = text[: word.start()] + new + text[word.start() if change == "put in" else word.end() :]
    return text


def shingle_set(text: str, ngram: int) -> set[tuple[str, ...]]:
    """The different n-grams of a text, as words."""
    words = _word().findall(text.lower())
    return {tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1))}


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    """A letter of a script without spaces, or consecutive letters, digits and combining marks."""
    alone = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
    marks = "".join(chr(code) for code in range(0x300, 1 << 16) if unicodedata.category(chr(code))[0] == "M")
    return re.compile(f"(?=[\\w{marks}])[{alone}]|(?:(?![{alone}])[\\w{marks}])+")


def similarity(a: str, b: str, ngram: int) -> float:
    """The Jaccard similarity of two texts."""
    first, second = shingle_set(a, ngram), shingle_set(b, ngram)
    return len(first & second) / len(first | second)


def _drawn(documents: Iterator[Document]) -> list[Document]:
    """Up to ``DOCUMENTS`` long enough documents with different texts, drawn by a hash of the text, in their order."""
    held: list[tuple[int, int, Document]] = []
    seen: set[int] = set()
    for number, document in enumerate(documents):
        key = -int.from_bytes(hashlib.blake2b(document.text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
        if len(held) == DOCUMENTS and key <= held[0][0]:
            continue
        if key in seen or len(_word().findall(document.text, 0, LETTERS)) < FEWEST_WORDS:
            continue
        seen.add(key)
        if len(held) < DOCUMENTS:
            heapq.heappush(held, (key, number, document))
        else:
            seen.remove(heapq.heapreplace(held, (key, number, document))[0])
    return [document for _, _, document in sorted(held, key=lambda item: item[1])]


def _judged(texts: list[str], copies: list[str], twins: dict[int, int], bands: Bands) -> Audit:
    both = texts + copies
    pairs = []
    for number, (text, copy) in enumerate(zip(texts, copies, strict=True)):
        pairs.append(Pair(similarity(text, copy, bands.ngram), number in twins or number + len(texts) in twins))
    near = [pair.found for pair in pairs if pair.jaccard >= bands.threshold]
    right = [similarity(both[gone], both[kept], bands.ngram) >= bands.threshold for gone, kept in twins.items()]
    return Audit(sum(near) / max(1, len(near)), sum(right) / max(1, len(right)), pairs)


def _print(result: Audit, bands: Bands, console: Console) -> None:
    title = f"{bands.bands} bands of {bands.rows} rows, word {bands.ngram}-grams, threshold {bands.threshold}"
    table = Table("Jaccard", "pairs", "removed", "candidates in theory", title=title, title_justify="left")
    for low, high in zip(BINS, (*BINS[1:], 1.1), strict=True):
        inside = [pair for pair in result.pairs if low <= pair.jaccard < high]
        if inside:
            theory = sum(bands.chance(pair.jaccard) for pair in inside) / len(inside)
            share = sum(pair.found for pair in inside) / len(inside)
            label = f"{low:.2f} to {high:.2f}" if low < 1 else "1.00"
            table.add_row(label, f"{len(inside):,}", f"{share:.1%}", f"{theory:.1%}")
    console.print(table)
    near = sum(pair.jaccard >= bands.threshold for pair in result.pairs)
    line = f"recall {result.recall:.4f} of {near:,} pairs at {bands.threshold} or above, "
    console.print(line + f"precision {result.precision:.4f}", highlight=False)
