"""How well a vocabulary fits its text: compression by source, whole words, and a round trip."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from megalite.corpus.readers import Document

SOURCES_SHOWN = 8


def design_report(tokenizer: Tokenizer, documents: Iterable[Document]) -> dict[str, Any]:
    """Facts over a sample of documents; ``round_trip_failures`` must be 0 for a byte-level vocabulary."""
    size, tokens, failures, count = Counter[str](), Counter[str](), 0, 0
    used = Counter[int]()
    for document in documents:
        source = str(document.meta.get("source", document.path))
        ids = tokenizer.encode(document.text, add_special_tokens=False).ids
        size[source] += len(document.text.encode("utf-8", "replace"))
        tokens[source] += len(ids)
        used.update(ids)
        failures += tokenizer.decode(ids, skip_special_tokens=False) != document.text
        count += 1
    words = sum(1 for token in tokenizer.get_vocab() if token.startswith("Ġ") and token[1:].isalpha())
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "documents": count,
        "bytes_per_token": size.total() / max(1, tokens.total()),
        "bytes_per_token_by_source": {name: size[name] / max(1, tokens[name]) for name, _ in size.most_common()},
        "whole_word_tokens": words,
        "tokens_used": len(used),
        "most_frequent": [tokenizer.id_to_token(number) for number, _ in used.most_common(20)],
        "round_trip_failures": failures,
    }


def print_report(report: dict[str, Any], console: Console, title: str) -> None:
    """The report as a table."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("vocabulary", f"{report['vocab_size']:,} ids, {report['whole_word_tokens']:,} words with their space")
    table.add_row(
        "compression", f"{report['bytes_per_token']:.3f} bytes a token over {report['documents']:,} documents"
    )
    by_source = list(report["bytes_per_token_by_source"].items())[:SOURCES_SHOWN]
    table.add_row("by source", ", ".join(f"{name} {value:.2f}" for name, value in by_source))
    table.add_row("used", f"{report['tokens_used']:,} of the ids occur in the sample")
    table.add_row("round trip", f"{report['round_trip_failures']} documents came back changed")
    console.print(table)
