"""A comparison as one self-contained HTML page with error bars. No script, no network."""

from collections.abc import Sequence
from html import escape

from megalite.evaluation.comparison import Z95, Comparison, Figure, Row
from megalite.evaluation.results_table import is_beyond, rounded, signed

WIDTH, BAR, GAP, TOP = 300, 14, 5, 4
"""Pixels of a picture's scale and of its bars."""
STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e8eb); --soft: light-dark(#667, #9aa3ad);
  --line: light-dark(#dde1e6, #343b44); --paper: light-dark(#fff, #15181c); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1.5rem; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p.note, th, small { color: var(--soft); font-weight: normal }
table { border-collapse: collapse } td, th { padding: .25rem .9rem .25rem 0; text-align: right; vertical-align: middle }
th { border-bottom: 1px solid var(--line); font-size: .85rem } tr + tr td { border-top: 1px solid var(--line) }
td { white-space: nowrap }
td:first-child, th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; max-width: 17rem }
tr.inside td:first-child { padding-left: 1.2rem }
div.wide { overflow-x: auto } .key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .4rem 0 1rem }
code { font-size: .85rem; overflow-wrap: anywhere } dd { margin: 0 0 .4rem 1.5rem } svg { display: block }
svg line.error { stroke: var(--ink); stroke-width: 1.5 } svg line.chance { stroke: var(--ink); stroke-dasharray: 3 3 }
svg line.axis { stroke: var(--line) } svg text { fill: var(--soft); font-size: 10px } b.beyond { font-weight: 600 }
"""
COLOURS = ("#3b75af", "#e08a3c", "#4f9d69", "#b3565f", "#8a6fae", "#7f6a5d", "#c57bb0", "#7d8791")


def results_page(comparison: Comparison) -> str:
    """The HTML."""
    names = comparison.short_names()
    body = [
        "<h1>Evaluation</h1>",
        f"<p class=note>{_options(comparison)} Error bars are 95 % intervals, ± {Z95:.2f} standard errors over items; the "
        "dashed line is what guessing gets right.</p>",
        f"<p>{''.join(_key(number, name) for number, name in enumerate(names))}</p>",
        _figures(comparison.rows, names),
        *(f"<p class=note>{escape(note)}</p>" for note in comparison.notes()),
    ]
    if len(names) > 1:
        body += [
            f"<h2>Differences from {escape(names[0])}</h2>",
            "<p class=note>± standard error of the difference over the same items; bold beyond its 95 % interval.</p>",
            _differences(comparison.rows, names),
        ]
    body += ["<h2>What was measured</h2>", _provenance(comparison)]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Evaluation</title><style>{STYLE}</style>{''.join(body)}</html>\n"
    )


def _options(comparison: Comparison) -> str:
    given = [f"{name} {value}" for name, value in comparison.options.items() if value not in (None, False)]
    return escape(", ".join(given)) + "."


def _key(number: int, name: str) -> str:
    return f'<span class=key style="background:{_colour(number)}"></span>{escape(name)}'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _figures(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A line a metric: its facts, the picture, and the figures in the bars' order."""
    head = ("task", "metric", "items", "shots", "chance", "value ± standard error", "")
    lines = []
    for row in rows:
        arrow = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
        chance = "" if row.chance is None else f"{row.chance:.3f}"
        cells = [
            escape(row.task),
            escape(row.metric) + arrow,
            f"{row.items:,}" if row.items else "",
            str(row.examples or 0),
        ]
        cells += [chance, "<br>".join(_value(figure) for figure in row.figures), _picture(row, names)]
        inside = ' class="inside"' if row.inside else ""
        lines.append(f"<tr{inside}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        f"<div class=wide><table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{''.join(lines)}</table></div>"
    )


def _value(figure: Figure | None) -> str:
    if figure is None:
        return "<small>not measured</small>"
    error = "" if figure.error is None else f" <small>± {rounded(figure.error)}</small>"
    return f"{rounded(figure.value)}{error}"


def _picture(row: Row, names: Sequence[str]) -> str:
    """Bars from 0 (or from the lowest value below it) with error bars; shares of 1 have a scale to 1."""
    ends = [0.0] + ([] if row.chance is None else [1.0])
    for shown in row.figures:
        if shown is not None:
            ends += [shown.value - Z95 * (shown.error or 0), shown.value + Z95 * (shown.error or 0)]
    low = min(0.0, min(ends)) if row.chance is None else 0.0
    high = max(ends) if row.chance is None else 1.0
    scale = WIDTH / ((high - low) or 1.0)

    def at(value: float) -> float:
        return round(min(max((value - low) * scale, 0.0), WIDTH), 1)

    height = TOP + len(names) * (BAR + GAP) + 12
    parts = []
    for number, figure in enumerate(row.figures):
        if figure is None:
            continue
        top, left, right = TOP + number * (BAR + GAP), at(min(0.0, figure.value)), at(max(0.0, figure.value))
        said = escape(f"{names[number]}: {rounded(figure.value)}")
        parts.append(
            f'<rect x="{left}" y="{top}" width="{max(right - left, 0.5):.1f}" height="{BAR}" fill="{_colour(number)}">'
            f"<title>{said}</title></rect>"
        )
        if figure.error is not None:
            start, end = (at(figure.value + side * Z95 * figure.error) for side in (-1, 1))
            centre = top + BAR / 2
            parts.append(_line("error", start, centre, end, centre))
            parts += [_line("error", x, centre - 4, x, centre + 4) for x in (start, end)]
    bottom = height - 12
    parts.append(_line("axis", at(0.0), 0, at(0.0), bottom))
    if row.chance is not None:
        parts.append(_line("chance", at(row.chance), 0, at(row.chance), bottom))
    parts.append(f'<text x="0" y="{height - 2}">{low:.3g}</text>')
    parts.append(f'<text x="{WIDTH}" y="{height - 2}" text-anchor="end">{high:.3g}</text>')
    return f'<svg width="{WIDTH}" height="{height}" role="img">{"".join(parts)}</svg>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _differences(rows: Sequence[Row], names: Sequence[str]) -> str:
    head = ("task", "metric", *map(escape, names[1:]))
    lines = []
    for row in rows:
        cells = [escape(row.task), escape(row.metric), *map(_difference, row.differences[1:])]
        inside = ' class="inside"' if row.inside else ""
        lines.append(f"<tr{inside}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        f"<div class=wide><table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{''.join(lines)}</table></div>"
    )


def _difference(figure: Figure | None) -> str:
    if figure is None:
        return "<small>not measured</small>"
    error = "" if figure.error is None else f" <small>± {rounded(figure.error)}</small>"
    shown = signed(figure.value)
    return (f"<b class=beyond>{shown}</b>" if is_beyond(figure) else shown) + error


def _provenance(comparison: Comparison) -> str:
    """Models, tasks and data files with their hashes."""
    parts = [
        f"<dt>model <code>{escape(name)}</code></dt><dd><small>fingerprint <code>{fingerprint}</code></small></dd>"
        for name, fingerprint in comparison.models.items()
    ]
    for name, facts in comparison.tasks.items():
        files = "".join(f"<br>sha256 <code>{sha}</code> {escape(path)}" for path, sha in facts["files"].items())
        said = f"from {escape(facts['source'])}; content <code>{facts['fingerprint']}</code>{files}"
        parts.append(f"<dt>task <code>{escape(name)}</code></dt><dd><small>{said}</small></dd>")
    return f"<dl>{''.join(parts)}</dl>"
