"""The examined samples as a self-contained HTML page."""

from html import escape
from pathlib import Path

from megalite.files.html_page import html_page, write_html
from megalite.posttraining.mask.doctor import Finding, pieces
from megalite.posttraining.mask.encoder import ChatEncoder

STYLE = """
pre { background: light-dark(#f5f6f8, #1f2327); padding: 1rem; border-radius: 6px; color: var(--soft); font-size: .9rem }
.loss { background: light-dark(#c9efd3, #174d2a); color: light-dark(#0b3d1d, #d5f5de) }
.stop { background: #14732f; color: #fff; font-weight: 600 } h2 { font-size: 1rem; overflow-wrap: anywhere }
"""


def write_page(path: Path, findings: list[Finding], encoder: ChatEncoder, count: int = 20) -> None:
    """Write a page with the first ``count`` samples."""
    tokens = sum(len(finding.chat.ids) for finding in findings)
    loss = sum(finding.loss_tokens for finding in findings) / max(1, tokens)
    body = [
        "<h1>Mask doctor</h1>",
        f"<p>{escape(encoder.source)}: <span class=loss>&nbsp;carries loss&nbsp;</span>, <span class=stop>&nbsp;the stop "
        f"token, with loss&nbsp;</span>, the rest carries none. {len(findings)} samples were examined: {tokens:,} tokens, "
        f"of which {loss:.1%} carry loss.</p>",
        *(_sample(finding, encoder) for finding in findings[:count]),
    ]
    write_html(path, html_page(f"Mask doctor: {encoder.source}", body, STYLE))


def _sample(finding: Finding, encoder: ChatEncoder) -> str:
    text = "".join(_span(*piece) for piece in pieces(finding.chat, encoder.stop_id))
    title = f"{escape(finding.place)} ({finding.loss_tokens} of {len(finding.chat.ids)} tokens)"
    return f"<h2>{title}</h2>\n<pre>{text}</pre>\n"


def _span(text: str, kind: str) -> str:
    return escape(text) if kind == "none" else f'<span class="{kind}">{escape(text)}</span>'
