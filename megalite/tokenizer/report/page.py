"""The design report as a self-contained HTML page."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from megalite.files.html_page import html_page, write_html

MOST_ROWS = 40
WIDTH, HEIGHT = 620, 220
MARGIN = 48
STYLE = """
code { background: var(--line); padding: 0 .3rem; margin: 0 .15rem .3rem 0; display: inline-block; border-radius: 3px;
  font-size: .85rem; white-space: pre } polyline { fill: none; stroke-width: 2; stroke: var(--kept) }
circle { fill: var(--kept) } circle.lost { fill: var(--lost) } polyline.lost { stroke: var(--lost) }
svg line.axis { stroke: var(--line); stroke-dasharray: none } svg text.kept { fill: var(--kept) }
svg text { font-size: 11px } .bar { display: block; height: .9rem; background: var(--line) }
.bar i { display: block; height: 100%; background: var(--kept) } svg text.lost { fill: var(--lost) }
"""


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Write the page of a report, given as in ``design_report.json``."""
    write_html(path, report_page(report))


def report_page(report: dict[str, Any]) -> str:
    failures = report["round_trip_failures"]
    changed = f"{failures:,} of {report['documents']:,} documents changed after encoding and decoding"
    body = [
        f"<h1>{report['vocab_size']:,} ids, {escape(report['model'].replace('_', ' '))}</h1>",
        f"<p class=note>digits {report['digits']}; trained with {escape(report['trainer'])}; {changed}.</p>",
        _facts(report),
        *(("<h2>Other sizes</h2>", _sweep(report)) if report["sweep"] else ()),
        "<h2>Parameters in embedding and head</h2>",
        _embedding(report),
        "<h2>By source</h2>",
        _parts("source", report["by_source"]),
        "<h2>By language</h2>",
        _parts("language", report["by_language"]),
        "<h2>Sample</h2>",
        _sample(report["sample"]),
        "<h2>Tokens</h2>",
        _tokens("most frequent", report["most_frequent"]),
        _tokens("longest", report["longest"]),
        _tokens(
            f"rarest of {report['rare']['count']:,} that occur less than {report['rare']['below']} times",
            report["rare"]["rarest"],
        ),
        _tokens(f"last learned of {report['unused']['count']:,} that do not occur", report["unused"]["last"]),
        _tokens("special", report["special_tokens"]),
    ]
    if report["round_trip_examples"]:
        body += [
            "<h2>Changed by the round trip</h2>",
            f"<pre>{escape(chr(10).join(map(repr, report['round_trip_examples'])))}</pre>",
        ]
    return html_page("Tokenizer design", body, STYLE)


def _facts(report: dict[str, Any]) -> str:
    rows = [
        ("bytes per token", f"{report['bytes_per_token']:.3f}"),
        ("characters per token", f"{report['characters_per_token']:.3f}"),
        ("tokens per word", f"{report['tokens_per_word']:.3f}"),
        ("ids that occur in the held-out text", f"{report['tokens_used']:,}"),
        ("whole words with a leading space", f"{report['whole_word_tokens']:,}"),
        ("documents that contain a special token", f"{report['documents_with_special_tokens']:,}"),
    ]
    if whole := report.get("corpus_round_trip"):
        rows.append(("documents of the whole corpus that changed", f"{whole['changed']:,} of {whole['documents']:,}"))
    return _table(("", ""), rows)


def _sweep(report: dict[str, Any]) -> str:
    """Compression by vocabulary size, and the share of the first model's parameters in the embedding."""
    own = {"vocab_size": report["vocab_size"], "bytes_per_token": report["bytes_per_token"]}
    own |= {"tokens_per_word": report["tokens_per_word"], "embedding": report["embedding"]}
    sizes = sorted({size["vocab_size"]: size for size in (*report["sweep"], own)}.items())
    names = [row["model"] for row in report["embedding"]]
    rows = [
        [
            f"<b>{number:,}</b>" if number == report["vocab_size"] else f"{number:,}",
            f"{size['bytes_per_token']:.3f}",
            f"{size['tokens_per_word']:.3f}",
            *(f"{row['share']:.1%}" for row in size["embedding"]),
        ]
        for number, size in sizes
    ]
    table = _table(("ids", "bytes per token", "tokens per word", *map(escape, names)), rows)
    if len(sizes) < 2:
        return table
    better = [size["bytes_per_token"] for _, size in sizes]
    costs = [size["embedding"][0]["share"] for _, size in sizes]
    picture = _line(better, "", "{:.2f}") + _line(costs, "lost", "{:.0%}")
    step = (WIDTH - 2 * MARGIN) / (len(sizes) - 1)
    ticks = "".join(
        f"<text x={MARGIN + i * step:.0f} y={HEIGHT - 4} text-anchor=middle>{number:,}</text>"
        for i, (number, _) in enumerate(sizes)
    )
    axis = f"<line class=axis x1={MARGIN} x2={WIDTH - MARGIN} y1={HEIGHT - 22} y2={HEIGHT - 22} />"
    legend = (
        f"<p class=note><span style='color:var(--kept)'>bytes per token</span>, and "
        f"<span style='color:var(--lost)'>share of parameters in embedding and head, {escape(names[0])}</span>, by "
        "number of ids; each curve has its own scale.</p>"
    )
    return f"{legend}<svg width={WIDTH} height={HEIGHT} role=img>{axis}{picture}{ticks}</svg>{table}"


def _line(values: Sequence[float], kind: str, form: str) -> str:
    low, high = min(values), max(values)
    step, tall = (WIDTH - 2 * MARGIN) / (len(values) - 1), HEIGHT - 76
    points = [(MARGIN + i * step, 40 + tall * (1 - (v - low) / ((high - low) or 1))) for i, v in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    above = 14 if kind else -8
    marks = "".join(
        f"<circle class='{kind}' cx={x:.1f} cy={y:.1f} r=3 /><text class='{kind or 'kept'}' x={x:.1f} y={y + above:.1f} "
        f"text-anchor=middle>{form.format(value)}</text>"
        for (x, y), value in zip(points, values, strict=True)
    )
    return f"<polyline class='{kind}' points='{path}' />{marks}"


def _embedding(report: dict[str, Any]) -> str:
    rows = [
        (
            escape(row["model"]),
            f"{row['parameters'] / 1e6:,.1f} M",
            f"{row['total'] / 1e6:,.0f} M",
            f"{row['share']:.1%}",
            _bar(row["share"]),
        )
        for row in report["embedding"]
    ]
    return _table(("model", "embedding and head", "all", "share", ""), rows)


def _parts(kind: str, parts: dict[str, dict[str, float]]) -> str:
    best = max((part["bytes_per_token"] for part in parts.values()), default=1.0)
    rows = [
        (
            escape(name),
            f"{part['documents']:,}",
            f"{part['bytes'] / 1e3:,.1f}",
            f"{part['bytes_per_token']:.2f}",
            f"{part['characters_per_token']:.2f}",
            f"{part['tokens_per_word']:.2f}",
            _bar(part["bytes_per_token"] / best),
        )
        for name, part in list(parts.items())[:MOST_ROWS]
    ]
    more = (
        f"<p class=note>and {len(parts) - MOST_ROWS} more in design_report.json</p>" if len(parts) > MOST_ROWS else ""
    )
    return (
        _table((kind, "documents", "kB", "bytes per token", "characters per token", "tokens per word", ""), rows) + more
    )


def _sample(sources: Sequence[dict[str, Any]]) -> str:
    total = sum(source["bytes"] for source in sources)
    rows = [
        (
            escape(source["name"]),
            f"{source['documents']:,} of {source['found_documents']:,}",
            f"{source['bytes'] / 1e6:.2f} of {source['found_bytes'] / 1e6:.2f}",
            f"{source['bytes'] / total:.1%}",
            f"{source['weight']:.1%}",
            f"{source['held_out_documents']:,}",
            f"{source['cut_documents']:,}",
            f"{source['malformed']:,}",
        )
        for source in sources
    ]
    head = ("source", "documents", "MB", "share", "requested", "held out for this report", "cut", "malformed")
    return _table(head, rows)


def _tokens(title: str, tokens: Sequence[str]) -> str:
    shown = "".join(f"<code>{escape(token)}</code>" for token in tokens[:MOST_ROWS])
    return f"<p><small>{title}</small><br>{shown}</p>" if tokens else ""


def _bar(share: float) -> str:
    return f"<span class=bar style='width:12rem'><i style='width:{100 * share:.1f}%'></i></span>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"
