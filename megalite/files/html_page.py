"""The frame of a self-contained HTML page: no script, no network, light and dark."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from megalite.files.whole_file import whole_file

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e8eb); --soft: light-dark(#667, #9aa3ad);
  --line: light-dark(#dde1e6, #343b44); --kept: light-dark(#2a7f62, #4fb78f); --lost: light-dark(#c2553a, #e0805f);
  --paper: light-dark(#fff, #15181c); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
  margin: 2rem auto; padding: 0 1.5rem; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p.note, th, small { color: var(--soft); font-weight: normal }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: right; vertical-align: middle }
th { border-bottom: 1px solid var(--line); font-size: .85rem } td:first-child, th:first-child { text-align: left }
div.wide { overflow-x: auto } pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem }
svg line { stroke: var(--ink) } svg line.axis { stroke: var(--line) } svg text { fill: var(--soft); font-size: 10px }
"""


def html_page(title: str, body: Iterable[str], style: str = "") -> str:
    """The whole document. ``body`` is HTML already, ``style`` is CSS of this page alone."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style>{''.join(body)}</html>\n"
    )


def write_html(path: Path, page: str) -> None:
    """Write the page. It appears under its name only when it is complete; lone surrogates become ``?``."""
    with whole_file(path) as file:
        file.write(page.encode("utf-8", "replace"))
