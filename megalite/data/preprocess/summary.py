"""What ``tools/preprocess_data.py`` prints at its end."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from megalite.data.manifest import Manifest
from megalite.data.preprocess.plan import PreprocessPlan
from megalite.data.preprocess.unit import UnitResult


def malformed_examples(plan: PreprocessPlan, results: list[UnitResult]) -> list[str]:
    """The first malformed records as ``path:line: reason``, with line numbers in the whole file."""
    examples, lines_before = [], 0
    for unit, result in zip(plan.units, results, strict=True):
        if unit.start == 0:
            lines_before = 0
        examples += [str(place._replace(line=lines_before + place.line)) for place in result.places]
        lines_before += result.lines
    return examples[:5]


def summary(
    prefix: Path,
    plan: PreprocessPlan,
    results: list[UnitResult],
    manifests: list[Manifest],
    reasons: list[str],
    seconds: float,
) -> Table:
    """What the run read, wrote and skipped."""
    table = Table(title=f"{prefix}.bin / .idx", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    first = manifests[0]
    table.add_row("documents", f"{first.documents:,} from {len(plan.inputs)} file(s)")
    table.add_row("left out", f"{first.malformed:,} malformed, {first.empty:,} empty")
    for example in malformed_examples(plan, results):
        table.add_row("", example)
    for target, manifest in zip(plan.prefixes(prefix), manifests, strict=True):
        name = "tokens" if len(manifests) == 1 else target.name
        share = f", {manifest.text_bytes / manifest.tokens:.3f} bytes each" if manifest.tokens else ""
        table.add_row(name, f"{manifest.tokens:,} ({manifest.dtype}){share}")
        if plan.level == "sentence":
            table.add_row("", f"{manifest.sequences:,} sentences, by {plan.splitter}")
    spelled = sum(manifest.special_spellings or 0 for manifest in manifests)
    rule = "became those tokens" if plan.parse_special_tokens else "stayed text"
    table.add_row("special tokens", f"{spelled:,} spelled in the text, which {rule}")
    table.add_row("tokenizer", escape(first.tokenizer_check or ""))
    table.add_row("encoder", ", ".join(sorted({result.encoder for result in results})))
    for reason in reasons:
        table.add_row("", f"not {reason}")
    text_bytes = sum(manifest.text_bytes for manifest in manifests)
    table.add_row("speed", f"{text_bytes / seconds / 1e6:.2f} MB of text a second, {seconds:.1f} s")
    table.add_row("size", f"{sum(manifest.bin.bytes + manifest.idx.bytes for manifest in manifests):,} bytes")
    return table
