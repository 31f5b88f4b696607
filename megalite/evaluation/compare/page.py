"""A comparison as a self-contained HTML page with error bars."""

from collections.abc import Sequence
from html import escape

from megalite.evaluation.compare.comparison import Z95, Comparison, Figure, Row
from megalite.evaluation.compare.table import is_significant, rounded, signed
from megalite.files.html_page import html_page

WIDTH, BAR, GAP, TOP = 300, 14, 5, 4
"""Pixels of a chart's scale and its bars."""
STYLE = """
td, th { padding: .25rem .9rem .25rem 0 } tr + tr td { border-top: 1px solid var(--line) } td { white-space: nowrap }
td:first-child, th:first-child { white-space: normal; overflow-wrap: anywhere; max-width: 17rem }
tr.member td:first-child { padding-left: 1.2rem }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .4rem 0 1rem }
code { font-size: .85rem; overflow-wrap: anywhere } dd { margin: 0 0 .4rem 1.5rem } svg { display: block }
svg line.error { stroke-width: 1.5 } svg line.chance { stroke-dasharray: 3 3 } b.significant { font-weight: 600 }
"""
COLOURS = ("#3b75af", "#e08a3c", "#4f9d69", "#b3565f", "#8a6fae", "#7f6a5d", "#c57bb0", "#7d8791")


def results_page(comparison: Comparison) -> str:
    names = comparison.short_names()
    body = [
        "<h1>Evaluation</h1>",
        f"<p class=note>{_options(comparison)} Error bars are 95 % intervals, ± {Z95:.2f} standard errors over items; the "
        "dashed line is the score of random guessing.</p>",
        f"<p>{''.join(_key(number, name) for number, name in enumerate(names))}</p>",
        _figures(comparison.rows, names),
        *(f"<p class=note>{escape(note)}</p>" for note in comparison.notes()),
    ]
    if len(names) > 1:
        body += [
            f"<h2>Differences from {escape(names[0])}</h2>",
            "<p class=note>± standard error of the difference over the same items; bold outside the 95 % interval.</p>",
            _differences(comparison.rows, names),
        ]
    body += ["<h2>What was measured</h2>", _provenance(comparison)]
    return html_page("Evaluation", body, STYLE)


def _options(comparison: Comparison) -> str:
    given = [f"{name} {value}" for name, value in comparison.options.items() if value not in (None, False)]
    return escape(", ".join(given)) + "."


def _key(number: int, name: str) -> str:
    return f'<span class=key style="background:{_colour(number)}"></span>{escape(name)}'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _figures(rows: Sequence[Row], names: Sequence[str]) -> str:
    """One line per metric: its facts, the values, and a chart with one bar per model."""
    lines = []
    for row in rows:
        arrow = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
        chance = "" if row.chance is None else f"{row.chance:.3f}"
        cells = [escape(row.metric) + arrow, f"{row.items:,}" if row.items else "", str(row.examples or 0), chance]
        lines.append(_table_row(row, [*cells, "<br>".join(map(_value, row.figures)), _chart(row, names)]))
    return _table(("task", "metric", "items", "shots", "chance", "value ± standard error", ""), lines)


def _table(head: Sequence[str], lines: Sequence[str]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    return f"<div class=wide><table><tr>{cells}</tr>{''.join(lines)}</table></div>"


def _table_row(row: Row, cells: Sequence[str]) -> str:
    member = ' class="member"' if row.in_group else ""
    return f"<tr{member}>{''.join(f'<td>{cell}</td>' for cell in (escape(row.task), *cells))}</tr>"


def _value(figure: Figure | None) -> str:
    return "<small>not measured</small>" if figure is None else rounded(figure.value) + _error(figure)


def _error(figure: Figure) -> str:
    return "" if figure.error is None else f" <small>± {rounded(figure.error)}</small>"


def _chart(row: Row, names: Sequence[str]) -> str:
    """Bars with error bars. The scale includes 0; it is 0 to 1 for a metric that has a chance level."""
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
        label = escape(f"{names[number]}: {rounded(figure.value)}")
        parts.append(
            f'<rect x="{left}" y="{top}" width="{max(right - left, 0.5):.1f}" height="{BAR}" fill="{_colour(number)}">'
            f"<title>{label}</title></rect>"
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
    lines = [_table_row(row, [escape(row.metric), *map(_difference, row.differences[1:])]) for row in rows]
    return _table(("task", "metric", *map(escape, names[1:])), lines)


def _difference(figure: Figure | None) -> str:
    if figure is None:
        return "<small>not measured</small>"
    shown = signed(figure.value)
    return (f"<b class=significant>{shown}</b>" if is_significant(figure) else shown) + _error(figure)


def _provenance(comparison: Comparison) -> str:
    """Models, tasks and data files with their hashes."""
    parts = [
        f"<dt>model <code>{escape(name)}</code></dt><dd><small>fingerprint <code>{fingerprint}</code></small></dd>"
        for name, fingerprint in comparison.models.items()
    ]
    for name, facts in comparison.tasks.items():
        files = "".join(f"<br>sha256 <code>{sha}</code> {escape(path)}" for path, sha in facts["files"].items())
        details = f"from {escape(facts['source'])}; content <code>{facts['fingerprint']}</code>{files}"
        parts.append(f"<dt>task <code>{escape(name)}</code></dt><dd><small>{details}</small></dd>")
    return f"<dl>{''.join(parts)}</dl>"
