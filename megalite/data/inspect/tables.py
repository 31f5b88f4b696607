"""Terminal output of ``tools/inspect_data.py``."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megalite.data.inspect.sample_view import Part, SampleView
from megalite.data.inspect.statistics import Lengths, Statistics
from megalite.tokenizer.load import LoadedTokenizer

BAR = 40


def print_statistics(
    prefix: str, found: Statistics, eod_id: int | None, tokenizer: LoadedTokenizer | None, console: Console
) -> None:
    """Counts and lengths, a histogram, and the most frequent ids."""
    table = Table(title=prefix, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    sequences = "" if found.sequences == found.documents else f" in {found.sequences:,} sequences"
    table.add_row("documents", f"{found.documents:,}{sequences}, {found.lengths.empty:,} of them empty")
    table.add_row("tokens", f"{found.tokens:,} as {found.dtype}, {found.bytes:,} bytes")
    lengths = found.lengths
    table.add_row(
        "tokens a document",
        f"mean {lengths.mean:,.1f}, median {lengths.median:,.0f}, 5% below {lengths.p5:,.0f}, 5% above "
        f"{lengths.p95:,.0f}, longest {lengths.longest:,}",
    )
    if eod_id is not None:
        ends = found.occurrences(eod_id)
        table.add_row(
            "end of document", f"id {eod_id}: {ends:,} times, {ends / max(1, found.tokens):.2%} of the tokens"
        )
    used = f"{found.distinct_ids:,} different ids, the largest {found.largest_id:,}"
    if tokenizer is not None:
        used += f"; {found.vocabulary_used(tokenizer.vocab_size):.1%} of the vocabulary of {tokenizer.vocab_size:,}"
        if outside := int(found.counts[tokenizer.vocab_size :].sum()):
            used += f"; {outside:,} tokens are outside of it: made with another tokenizer"
    table.add_row("ids", used)
    console.print(table)
    _print_histogram(lengths, console)
    frequent = Table(title="most frequent ids", title_justify="left")
    for name in ("id", "tokens", "share", "text"):
        frequent.add_column(name, justify="left" if name == "text" else "right")
    for token, count in found.most_frequent:
        text = "" if tokenizer is None else escape(repr(tokenizer.tokenizer.decode([token], skip_special_tokens=False)))
        frequent.add_row(str(token), f"{count:,}", f"{count / found.tokens:.2%}", text)
    console.print(frequent)


def _print_histogram(lengths: Lengths, console: Console) -> None:
    table = Table(title="documents by length", title_justify="left", show_header=False)
    for justify in ("right", "right", "left"):
        table.add_column(justify=justify)
    most = max((bar for _, _, bar in lengths.histogram), default=1)
    for low, high, bar in lengths.histogram:
        span = f"{low:,}" if low == high else f"{low:,} - {high:,}"
        table.add_row(span, f"{bar:,}", "█" * round(BAR * bar / most) or ("▏" if bar else ""))
    console.print(table)


def print_views(views: Sequence[SampleView], shows_text: bool, console: Console) -> None:
    """Samples with their documents; each text after a line with its position."""
    for view in views:
        if view.sample is not None:
            own = "" if view.own_sample == view.sample else f", its sample {view.own_sample:,}"
            console.print(f"[bold]sample {view.sample:,}[/bold]: {escape(view.prefix)}{own}, epoch {view.epoch}")
        for part in view.parts:
            console.print(f"[cyan]── {escape(_heading(part))}[/cyan]")
            if shows_text:
                console.print(
                    " ".join(map(str, part.ids)) if part.text is None else part.text, markup=False, highlight=False
                )


def _heading(part: Part) -> str:
    last = part.first + len(part.ids) - 1
    extent = f"all {part.of:,} tokens" if len(part.ids) == part.of else f"tokens {part.first:,}-{last:,} of {part.of:,}"
    heading = f"document {part.document:,}, {extent}"
    if part.origin is not None:
        heading += f", {part.origin.path}:{part.origin.line}"
        if part.origin.first_place is not None:
            heading += f", first {part.origin.first_place}"
        if part.origin.is_same is not None:
            heading += ", the same ids" if part.origin.is_same else ", WHOSE TEXT NOW GIVES OTHER IDS"
    return heading if part.untraced is None else f"{heading}, not traced: {part.untraced}"
