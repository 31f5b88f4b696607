"""Measure how well a vocabulary fits its text: compression by source and language, whole words, unused tokens."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tokenizers import Tokenizer

from megalite.files.readers.documents import read_documents
from megalite.files.readers.malformed import ReadReport
from megalite.tokenizer.sample.mix import Source
from megalite.tokenizer.sample.sampling import read_records
from megalite.tokenizer.special_text import SpecialSpellings

BATCH = 256
RARE = 10
"""A token is rare if it occurs less often in the held-out text; its embedding would learn little."""
EXAMPLES = 40
SPACES = ("\u0120", "\u2581")
"""The characters for a leading space in byte-level and in sentencepiece vocabularies."""


@dataclass
class Compression:
    """Counts over some documents."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0
    """Separated by white space; not meaningful for scripts without it."""
    tokens: int = 0

    def add(self, text: str, tokens: int) -> None:
        self.documents += 1
        self.bytes += len(text.encode())
        self.characters += len(text)
        self.words += len(text.split())
        self.tokens += tokens

    def to_json(self) -> dict[str, float]:
        tokens = max(1, self.tokens)
        rates = {"bytes_per_token": self.bytes / tokens, "characters_per_token": self.characters / tokens}
        return vars(self) | rates | {"tokens_per_word": self.tokens / max(1, self.words)}


@dataclass
class Measured:
    """The part of the report that follows from encoding the held-out text."""

    total: Compression = field(default_factory=Compression)
    by_source: dict[str, Compression] = field(default_factory=dict)
    by_language: dict[str, Compression] = field(default_factory=dict)
    used: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """Beginnings of the texts that the round trip changed."""
    with_special: int = 0
    """Documents that contain a special token, which is encoded as text."""


def measure(tokenizer: Tokenizer, report_text: Path, special: Sequence[str]) -> Measured:
    """Encode and decode the held-out text."""
    seen, spellings = Measured(), SpecialSpellings(special)
    tokenizer.encode_special_tokens = True
    for batch in _batches(read_records(report_text)):
        for record, ids, back in _round_trips(tokenizer, batch):
            text = record["text"]
            seen.used.update(ids)
            seen.total.add(text, len(ids))
            seen.by_source.setdefault(record["source"], Compression()).add(text, len(ids))
            seen.by_language.setdefault(record["lang"] or _language(text), Compression()).add(text, len(ids))
            seen.with_special += spellings.count(text) > 0
            if back != text:
                seen.failures.append(text[:80])
    return seen


def round_trip(tokenizer: Tokenizer, sources: Iterable[Source], text_key: str) -> dict[str, Any]:
    """Encode and decode every document of the corpus. A byte-level vocabulary must change none of them."""
    documents, changed = 0, list[str]()
    paths = [path for source in sources for path in source.paths]
    read = (
        {"text": d.text, "place": f"{d.path}:{d.line}"}
        for d in read_documents(paths, text_key, report=ReadReport())
        if _is_text(d.text)
    )
    for batch in _batches(read):
        documents += len(batch)
        changed += [record["place"] for record, _, back in _round_trips(tokenizer, batch) if back != record["text"]]
    return {"documents": documents, "changed": len(changed), "places": changed[:EXAMPLES]}


def design_report(tokenizer: Tokenizer, seen: Measured, special: Sequence[str]) -> dict[str, Any]:
    """The measurements as JSON values."""
    ids = tokenizer.get_vocab_size()
    learned = range(len(special), ids)
    unused = [number for number in learned if not seen.used[number]]
    rare = sorted((number for number in learned if 0 < seen.used[number] < RARE), key=seen.used.__getitem__)
    words = sum(1 for token in tokenizer.get_vocab() if token.startswith(SPACES) and token[1:].isalpha())

    def shown(numbers: Iterable[int]) -> list[str]:
        return [str(tokenizer.id_to_token(number)) for number in islice(numbers, EXAMPLES)]

    def by_size(parts: dict[str, Compression]) -> dict[str, dict[str, float]]:
        return {name: parts[name].to_json() for name in sorted(parts, key=lambda name: (-parts[name].bytes, name))}

    return {
        "vocab_size": ids,
        "special_tokens": list(special),
        **seen.total.to_json(),
        "by_source": by_size(seen.by_source),
        "by_language": by_size(seen.by_language),
        "whole_word_tokens": words,
        "tokens_used": len(seen.used),
        "unused": {"count": len(unused), "last": shown(reversed(unused))},
        "rare": {"below": RARE, "count": len(rare), "rarest": shown(rare)},
        "most_frequent": [tokenizer.id_to_token(number) for number, _ in seen.used.most_common(EXAMPLES)],
        "longest": sorted(tokenizer.get_vocab(with_added_tokens=False), key=lambda token: (-len(token), token))[
            :EXAMPLES
        ],
        "round_trip_failures": len(seen.failures),
        "round_trip_examples": seen.failures[:EXAMPLES],
        "documents_with_special_tokens": seen.with_special,
    }


def print_report(report: dict[str, Any], console: Console, title: str) -> None:
    """Print the report as a table."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("vocabulary", f"{report['vocab_size']:,} ids, {report['whole_word_tokens']:,} whole words")
    table.add_row("trained with", report["trainer"])
    table.add_row("check", report["tokenizer_check"])
    rates = f"{report['bytes_per_token']:.3f} bytes per token, {report['tokens_per_word']:.3f} tokens per word"
    table.add_row("compression", f"{rates}, over {report['documents']:,} documents")
    for kind in ("source", "language"):
        parts = list(report[f"by_{kind}"].items())[:8]
        table.add_row(f"by {kind}", ", ".join(f"{name} {part['bytes_per_token']:.2f}" for name, part in parts))
    used = f"{report['tokens_used']:,} ids occur; {report['unused']['count']:,} learned tokens do not"
    table.add_row("used", f"{used}, {report['rare']['count']:,} occur less than {RARE} times")
    changed = report["round_trip_failures"]
    example = f", such as {escape(repr(report['round_trip_examples'][0][:40]))}" if changed else ""
    table.add_row("round trip", f"{changed} of {report['documents']:,} documents changed{example}")
    if whole := report.get("corpus_round_trip"):
        table.add_row("whole corpus", f"{whole['changed']:,} of {whole['documents']:,} documents changed")
    if report["documents_with_special_tokens"]:
        table.add_row(
            "note",
            f"{report['documents_with_special_tokens']:,} documents contain a special token, encoded as text",
        )
    for row in report["embedding"]:
        share = f"{row['parameters'] / 1e6:,.1f} M parameters, {row['share']:.1%} of {row['total'] / 1e6:,.0f} M"
        table.add_row("embedding", f"{row['model']}: {share}")
    console.print(table)
    if report["sweep"]:
        sizes = Table(
            "ids", "bytes per token", "tokens per word", *(row["model"] for row in report["embedding"]), title="sweep"
        )
        for size in report["sweep"]:
            shares = [f"{row['share']:.1%}" for row in size["embedding"]]
            sizes.add_row(
                f"{size['vocab_size']:,}", f"{size['bytes_per_token']:.3f}", f"{size['tokens_per_word']:.3f}", *shares
            )
        console.print(sizes)


def _batches(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    records = iter(records)
    while batch := list(islice(records, BATCH)):
        yield batch


def _round_trips(tokenizer: Tokenizer, batch: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[int], str]]:
    encoded = tokenizer.encode_batch_fast([record["text"] for record in batch], add_special_tokens=False)
    ids = [encoding.ids for encoding in encoded]
    yield from zip(batch, ids, tokenizer.decode_batch(ids, skip_special_tokens=False), strict=True)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _language(text: str) -> str:
    from megalite.corpus.words.language_model import languages_of

    return next(iter(languages_of(text)), "unknown")
