"""What a stage kept and dropped, by rule and source, with a few victims of each rule."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

VICTIMS_KEPT = 10
EXCERPT = 300


@dataclass
class Ledger:
    """The books of one pass: ``read == kept + dropped`` at the end, checked."""

    read: int = 0
    kept: int = 0
    malformed: int = 0
    malformed_examples: list[str] = field(default_factory=list)
    """The first few malformed places, each with its reason."""
    kept_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept_by_source: Counter[str] = field(default_factory=Counter)
    dropped_by_source: dict[str, Counter[str]] = field(default_factory=dict)
    victims: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def keep(self, source: str, text: str) -> None:
        """Count a document that goes on."""
        self.kept += 1
        self.kept_bytes += len(text.encode("utf-8", "replace"))
        self.kept_by_source[source] += 1

    def drop(self, rule: str, source: str, place: str, text: str) -> None:
        """Count a document that does not, and keep the beginning of the first few of a rule."""
        self.dropped[rule] += 1
        self.dropped_by_source.setdefault(source, Counter())[rule] += 1
        sample = self.victims.setdefault(rule, [])
        if len(sample) < VICTIMS_KEPT:
            sample.append({"place": place, "text": text[:EXCERPT]})

    def to_json(self) -> dict[str, Any]:
        """The ledger as written to ``ledger.json``."""
        assert self.read == self.kept + self.dropped.total(), "a document was lost"
        return {
            "read": self.read,
            "kept": self.kept,
            "malformed": self.malformed,
            "malformed_examples": self.malformed_examples,
            "kept_bytes": self.kept_bytes,
            "dropped": dict(self.dropped.most_common()),
            "kept_by_source": dict(sorted(self.kept_by_source.items())),
            "dropped_by_source": {name: dict(counts) for name, counts in sorted(self.dropped_by_source.items())},
            "victims": self.victims,
        }

    def write(self, path: Path) -> None:
        """Write ``ledger.json``."""
        path.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def print(self, console: Console, title: str) -> None:
        """Print the table of reasons."""
        table = Table("", "documents", "share", title=title, title_justify="left")
        for name, count in (("read", self.read), ("kept", self.kept), *self.dropped.most_common()):
            label = name if name in ("read", "kept") else f"dropped: {name}"
            table.add_row(label, f"{count:,}", f"{count / max(1, self.read):.1%}")
        table.add_row("malformed", f"{self.malformed:,}", "")
        table.add_row("kept text", f"{self.kept_bytes / 1e6:.1f} MB", "")
        console.print(table)
        for example in self.malformed_examples:
            console.print(f"malformed, skipped: {example}", highlight=False, markup=False)
