"""The mask doctor's samples as one HTML file that needs nothing else."""

import html
from pathlib import Path

from megalite.posttraining.mask.doctor import Finding, pieces
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.run.folder import write_whole

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mask doctor: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1f23;
  background: #fff; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f6f8; padding: 1rem; border-radius: 6px;
  color: #636b74; }}
.loss {{ background: #c9efd3; color: #0b3d1d; }}
.stop {{ background: #14732f; color: #fff; font-weight: 600; }}
h2 {{ font-size: 1rem; margin: 2rem 0 .4rem; overflow-wrap: anywhere; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #15181b; color: #e4e7ea; }}
  pre {{ background: #1f2327; color: #98a1ab; }}
  .loss {{ background: #174d2a; color: #d5f5de; }}
}}
</style>
<h1>Mask doctor</h1>
<p>{title}: <span class="loss">&nbsp;carries loss&nbsp;</span>, <span class="stop">&nbsp;the stop token, with
loss&nbsp;</span>, the rest is only read. {examined} samples were examined, {tokens:,} tokens, of which {loss:.1%} carry
loss.</p>
{samples}
</html>
"""
SAMPLE = "<h2>{place} ({loss} of {tokens} tokens)</h2>\n<pre>{text}</pre>\n"


def write_page(path: Path, findings: list[Finding], encoder: ChatEncoder, count: int = 20) -> None:
    """Write the first ``count`` findings, as a whole or not at all."""
    samples = "".join(
        SAMPLE.format(
            place=html.escape(finding.place),
            loss=finding.loss_tokens,
            tokens=len(finding.chat.ids),
            text="".join(_span(*piece) for piece in pieces(finding.chat, encoder.stop_id)),
        )
        for finding in findings[:count]
    )
    tokens = sum(len(finding.chat.ids) for finding in findings)
    page = PAGE.format(
        title=html.escape(encoder.source),
        examined=len(findings),
        tokens=tokens,
        loss=sum(finding.loss_tokens for finding in findings) / max(1, tokens),
        samples=samples,
    )
    write_whole(path, page)


def _span(text: str, kind: str) -> str:
    escaped = html.escape(text)
    return escaped if kind == "none" else f'<span class="{kind}">{escaped}</span>'
