"""A ledger as a self-contained HTML page: funnel, histograms, overlaps, sources and examples. No script, no network."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from megalite.files.html_page import html_page, write_html

MOST_ROWS = 40
"""Maximum number of sources, and of rules in the table of overlaps; ``ledger.json`` has all."""
STYLE = """
.bar { display: block; height: .9rem; width: 24rem; background: var(--line) }
.bar i { display: block; float: left; height: 100%; background: var(--kept) } .bar i.lost { background: var(--lost) }
svg rect { fill: var(--kept) } svg rect.lost { fill: var(--lost) } svg line { stroke-dasharray: 3 2 }
td.heat { text-align: center; padding: .1rem .35rem; font-size: .8rem }
th.turned { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; font-size: .75rem; padding: .3rem 0 }
details { margin: .3rem 0; border-bottom: 1px solid var(--line) } summary { cursor: pointer }
pre { margin: .2rem 0 .8rem }
"""


def write_page(path: Path, stages: Sequence[dict[str, Any]]) -> None:
    """Writes the page of one or several stages, each in the form of ``Ledger.to_json``."""
    write_html(path, ledger_page(stages))


def ledger_page(stages: Sequence[dict[str, Any]]) -> str:
    first, last = stages[0], stages[-1]
    body = [
        "<h1>Corpus ledger</h1>",
        f"<p class=note>{_share(last['kept'], first['read'])} of {first['read']:,} documents were kept, "
        f"{_bytes(last['kept_bytes'])}; {sum(stage['malformed'] for stage in stages):,} malformed records were skipped.</p>",
        "<h2>Funnel</h2>",
        _funnel(stages),
    ]
    for stage in stages:
        name = escape(stage["stage"])
        body += [part for part in (_rules(stage, name), _overlaps(stage, name)) if part]
    body += ["<h2>Sources</h2>", _by("source", stages)]
    if any(stage["kept_by_language"] or stage["dropped_by_language"] for stage in stages):
        body += ["<h2>Languages</h2>", _by("language", stages)]
    body += [*_edits(stages), "<h2>Examples of dropped documents</h2>", *map(_examples, stages)]
    malformed = [place for stage in stages for place in stage["malformed_examples"]]
    if malformed:
        body += ["<h2>Malformed</h2>", f"<pre>{escape(chr(10).join(malformed))}</pre>"]
    return html_page("Corpus ledger", body, STYLE)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML; one that begins with ``<td`` is inserted as it is."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = ("".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0 %"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _funnel(stages: Sequence[dict[str, Any]]) -> str:
    whole = stages[0]["read"]
    rows = []
    for stage in stages:
        left = stage["read"]
        rows.append([f"<b>{escape(stage['stage'])}</b>", f"{left:,}", "", _bar(left, 0, whole)])
        order = {name: place for place, name in enumerate(stage["rules"])}
        for rule in sorted(stage["dropped"], key=lambda name: (order.get(name, len(order)), name)):
            lost = stage["dropped"][rule]
            left -= lost
            size = f"<small>{_bytes(stage['dropped_bytes'].get(rule, 0))}</small>"
            rows.append([escape(rule), f"{left:,}", f"−{lost:,} {size}", _bar(left, lost, whole)])
    rows.append(["<b>kept</b>", f"{stages[-1]['kept']:,}", "", _bar(stages[-1]["kept"], 0, whole)])
    return _table(("stage and rule", "documents left", "dropped", ""), rows)


def _bar(kept: int, lost: int, whole: int) -> str:
    widths = (100 * part / max(1, whole) for part in (kept, lost))
    return "<span class=bar>{}</span>".format(
        "".join(
            f"<i{kind} style='width:{width:.2f}%'></i>" for kind, width in zip(("", " class=lost"), widths, strict=True)
        )
    )


def _rules(stage: dict[str, Any], name: str) -> str:
    if not stage["rules"]:
        return ""
    rows = []
    for rule, facts in stage["rules"].items():
        sign = "&lt;" if facts["drops"] == "below" else "&gt;"
        numbers = (f"{stage['dropped'].get(rule, 0):,}", f"{facts['fired']:,}", f"{facts['alone']:,}")
        rows.append([escape(rule), f"{sign} {facts['threshold']:g}", *numbers, _histogram(facts)])
    return f"<h2>Rules of {name}</h2><p class=note>Red is dropped; heights are square roots of counts.</p>" + _table(
        ("rule", "drops if", "first reason", "any reason", "only reason", "histogram of the score"), rows
    )


def _histogram(facts: dict[str, Any]) -> str:
    bars = facts["histogram"]
    if not bars:
        return ""
    width, height = 300, 34
    step, highest = width / len(bars), max(count for _, _, count in bars)
    threshold, drops = facts["threshold"], facts["drops"]
    shapes = []
    for place, (start, stop, count) in enumerate(bars):
        tall = height * (count / highest) ** 0.5
        is_lost = stop <= threshold if drops == "below" else start >= threshold > 0 or start > threshold
        kind = " class=lost" if is_lost else ""
        title = f"<title>{start:g} to {stop:g}: {count:,}</title>"
        shapes.append(
            f"<rect{kind} x={place * step:.1f} y={height - tall:.1f} width={max(step - 0.6, 0.4):.1f} height={tall:.1f}>"
            f"{title}</rect>"
        )
    position = _position(bars, threshold) * step
    shapes.append(f"<line x1={position:.1f} x2={position:.1f} y1=0 y2={height} />")
    below = height + 10
    ends = f"<text x=0 y={below}>{bars[0][0]:g}</text><text x={width} y={below} text-anchor=end>{bars[-1][1]:g}</text>"
    return f"<svg width={width} height={height + 12} role=img>{''.join(shapes)}{ends}</svg>"


def _position(bars: Sequence[Sequence[float]], value: float) -> float:
    """Returns the position of a value on the axis, in bars."""
    for place, (start, stop, _) in enumerate(bars):
        if value < stop:
            return place + max(0.0, (value - start) / (stop - start))
    return float(len(bars))


def _overlaps(stage: dict[str, Any], name: str) -> str:
    """The share of the documents dropped by the row's rule that the column's rule would drop as well."""
    rules = [rule for rule, facts in stage["rules"].items() if facts["fired"]]
    rules = sorted(sorted(rules, key=lambda rule: -stage["rules"][rule]["fired"])[:MOST_ROWS], key=rules.index)
    if len(rules) < 2:
        return ""
    both = {frozenset(pair[:2]): pair[2] for pair in stage["overlaps"]}
    rows = []
    for row in rules:
        fired, cells = stage["rules"][row]["fired"], []
        for column in rules:
            share = 1.0 if row == column else both.get(frozenset((row, column)), 0) / fired
            color = f"color-mix(in srgb, var(--lost) {share:.0%}, transparent)"
            cells.append(
                f"<td class=heat style='background:{color}'>{f'{share:.0%}'[:-1] if share >= 0.005 else ''}</td>"
            )
        rows.append([escape(row), *cells])
    head = "<th></th>" + "".join(f"<th class=turned>{escape(rule)}</th>" for rule in rules)
    lines = "".join(f"<tr><td>{row[0]}</td>{''.join(row[1:])}</tr>" for row in rows)
    note = "Percentage of the documents dropped by the row's rule that the column's rule would drop too."
    return f"<h2>Overlaps in {name}</h2><p class=note>{note}</p><div class=wide><table><tr>{head}</tr>{lines}</table></div>"


def _by(what: str, stages: Sequence[dict[str, Any]]) -> str:
    """``what`` is "source" or "language"."""
    kept: dict[str, int] = stages[-1][f"kept_by_{what}"]
    dropped: dict[str, Counter[str]] = {}
    for stage in stages:
        for source, counts in stage[f"dropped_by_{what}"].items():
            dropped.setdefault(source, Counter()).update(counts)
    totals = {source: kept.get(source, 0) + dropped.get(source, Counter()).total() for source in {*kept, *dropped}}
    rows = []
    for source in sorted(totals, key=lambda name: (-totals[name], name))[:MOST_ROWS]:
        left, whole = kept.get(source, 0), totals[source]
        reasons = sorted(dropped.get(source, Counter()).items(), key=lambda item: -item[1])[:3]
        most = ", ".join(f"{escape(rule)} {count:,}" for rule, count in reasons)
        rows.append(
            [
                escape(source),
                f"{whole:,}",
                _share(left, whole),
                _bar(left, whole - left, whole),
                f"<small>{most}</small>",
            ]
        )
    note = f"<p class=note>The {MOST_ROWS} largest of {len(totals):,}.</p>" if len(totals) > MOST_ROWS else ""
    return note + _table((what, "documents", "kept", "", "most frequent reasons"), rows)


def _edits(stages: Sequence[dict[str, Any]]) -> list[str]:
    edits = [(kind, count) for stage in stages for kind, count in stage["edited"].items()]
    if not edits:
        return []
    return ["<h2>Changes to kept text</h2>", _table(("change", "count"), ((escape(k), f"{n:,}") for k, n in edits))]


def _examples(stage: dict[str, Any]) -> str:
    parts = []
    for rule, sample in stage["dropped_examples"].items():
        texts = []
        for example in sample:
            more = ", ".join(f"{key} {value}" for key, value in example.items() if key not in ("place", "text"))
            label = escape(example["place"] + (f" ({more})" if more else ""))
            texts.append(f"<small>{label}</small><pre>{escape(example['text'])}</pre>")
        count = stage["dropped"][rule]
        summary = f"{escape(rule)}: {len(sample)} of {count:,}"
        parts.append(f"<details><summary>{summary}</summary>{''.join(texts)}</details>")
    return "".join(parts)
