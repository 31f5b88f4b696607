"""What a stage kept and dropped, by rule and source, with a few victims of each rule, and how rules overlap."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.table import Table

from megalite.config.errors import DataError

VICTIMS_KEPT = 10
EXCERPT = 300
MOST_SOURCES = 1000
"""Sources counted by name; those met later are counted together."""
OTHER_SOURCES = "(other sources)"
LANGUAGES_PRINTED = 12
SHARE_BINS = 50
COUNT_BINS_PER_DOUBLING = 4


class CountedRule(Protocol):
    """What the ledger needs to know about a rule."""

    @property
    def name(self) -> str: ...
    @property
    def drops(self) -> Literal["below", "above"]: ...
    @property
    def threshold(self) -> float: ...
    @property
    def scale(self) -> Literal["share", "count"]: ...


@dataclass
class Ledger:
    """The books of one pass: ``read == kept + dropped`` at the end, checked."""

    stage: str = "filter"
    read: int = 0
    kept: int = 0
    malformed: int = 0
    malformed_examples: list[str] = field(default_factory=list)
    kept_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Documents by the rule they are booked under: the first that drops them."""
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    kept_by_source: Counter[str] = field(default_factory=Counter)
    dropped_by_source: dict[str, Counter[str]] = field(default_factory=dict)
    kept_by_language: Counter[str] = field(default_factory=Counter)
    """By the language that the filters judged a document as, where they know several."""
    dropped_by_language: dict[str, Counter[str]] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    """Documents by every rule that would drop them."""
    alone: Counter[str] = field(default_factory=Counter)
    """Documents that only this rule drops: what turning it off would bring back."""
    overlaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    histograms: dict[str, Counter[int]] = field(default_factory=dict)
    edited: Counter[str] = field(default_factory=Counter)
    """Changes to kept text, by kind (masked addresses, lines taken out)."""
    _victims: dict[str, list[tuple[int, int, dict[str, Any]]]] = field(default_factory=dict)
    _sources: set[str] = field(default_factory=set)

    def keep(self, source: str, text: str, size: int | None = None, language: str | None = None) -> None:
        """Count a document that goes on. ``size`` is its bytes where ``text`` is only its beginning."""
        self.kept += 1
        self.kept_bytes += _bytes(text) if size is None else size
        self.kept_by_source[self._source(source)] += 1
        if language is not None:
            self.kept_by_language[language] += 1

    def drop(
        self,
        rule: str,
        source: str,
        place: str,
        text: str,
        size: int | None = None,
        language: str | None = None,
        **more: Any,
    ) -> None:
        """Count a document that does not go on, and maybe keep its beginning: each has the same chance to be a victim.

        ``more`` is kept with the victim (its score, its twin).
        """
        self.dropped[rule] += 1
        self.dropped_bytes[rule] += _bytes(text) if size is None else size
        self.dropped_by_source.setdefault(self._source(source), Counter())[rule] += 1
        if language is not None:
            self.dropped_by_language.setdefault(language, Counter())[rule] += 1
        lot = int.from_bytes(hashlib.blake2b(f"{rule} {place}".encode("utf-8", "replace"), digest_size=6).digest())
        sample = self._victims.setdefault(rule, [])
        if len(sample) < VICTIMS_KEPT or lot < sample[-1][0]:
            sample.append((lot, self.read, {"place": place, "text": text[:EXCERPT], **more}))
            sample.sort(key=lambda entry: entry[:2])
            del sample[VICTIMS_KEPT:]

    def judge(self, reasons: Sequence[str], rules: Sequence[CountedRule], scores: Sequence[float]) -> None:
        """Counts all reasons and scores of a document; call :meth:`keep` or :meth:`drop` to count the document itself.

        Args:
            reasons: the rules that drop the document.
            scores: one per rule, NaN for a rule that does not apply.
        """
        self.fired.update(reasons)
        if len(reasons) == 1:
            self.alone[reasons[0]] += 1
        for later, second in enumerate(reasons):
            for first in reasons[:later]:
                self.overlaps[first, second] += 1
        for rule, score in zip(rules, scores, strict=True):
            if not math.isnan(score):
                self.histograms.setdefault(rule.name, Counter())[bin_of(score, rule.scale)] += 1

    def merge(self, other: "Ledger") -> None:
        """Add the books of another part of the same stage."""
        self.read += other.read
        self.kept += other.kept
        self.malformed += other.malformed
        self.malformed_examples = (self.malformed_examples + other.malformed_examples)[:VICTIMS_KEPT]
        self.kept_bytes += other.kept_bytes
        for name in ("dropped", "dropped_bytes", "kept_by_language", "fired", "alone", "overlaps", "edited"):
            getattr(self, name).update(getattr(other, name))
        for source, count in other.kept_by_source.items():
            self.kept_by_source[self._source(source)] += count
        for source, counts in other.dropped_by_source.items():
            self.dropped_by_source.setdefault(self._source(source), Counter()).update(counts)
        for language, counts in other.dropped_by_language.items():
            self.dropped_by_language.setdefault(language, Counter()).update(counts)
        for rule, bars in other.histograms.items():
            self.histograms.setdefault(rule, Counter()).update(bars)
        for rule, sample in other._victims.items():
            both = sorted(self._victims.get(rule, []) + sample, key=lambda entry: entry[:2])
            self._victims[rule] = both[:VICTIMS_KEPT]

    def then(self, later: "Ledger") -> "Ledger":
        """The books of this stage and the next as one: what both dropped, and what the next kept of what this one kept.

        Raises: DataError where the next did not read what this one kept.
        """
        if later.read != self.kept:
            raise DataError(
                f"{self.stage} kept {self.kept:,} documents and {later.stage} read {later.read:,}; a file between them "
                f"was lost or changed: remove the work folder and run the command again"
            )
        total = Ledger(stage="corpus")
        total.merge(self)
        total.kept, total.kept_bytes = 0, 0
        total.kept_by_source, total.kept_by_language = Counter(), Counter()
        total.merge(later)
        total.read = self.read
        return total

    @property
    def victims(self) -> dict[str, list[dict[str, Any]]]:
        """By rule, up to ten of its documents in the order of reading."""
        return {
            rule: [entry[2] for entry in sorted(sample, key=lambda e: e[1])] for rule, sample in self._victims.items()
        }

    def to_json(self, rules: Sequence[CountedRule] = ()) -> dict[str, Any]:
        """The content of ``ledger.json``, with thresholds and histograms of the ``rules``."""
        assert self.read == self.kept + self.dropped.total(), "a document was lost"
        return {
            "stage": self.stage,
            "read": self.read,
            "kept": self.kept,
            "malformed": self.malformed,
            "malformed_examples": self.malformed_examples,
            "kept_bytes": self.kept_bytes,
            "dropped": dict(self.dropped.most_common()),
            "dropped_bytes": dict(self.dropped_bytes.most_common()),
            "kept_by_source": dict(sorted(self.kept_by_source.items())),
            "dropped_by_source": {name: dict(counts) for name, counts in sorted(self.dropped_by_source.items())},
            "kept_by_language": dict(sorted(self.kept_by_language.items())),
            "dropped_by_language": {name: dict(counts) for name, counts in sorted(self.dropped_by_language.items())},
            "edited": dict(self.edited.most_common()),
            "rules": {
                rule.name: {
                    "drops": rule.drops,
                    "threshold": rule.threshold,
                    "fired": self.fired[rule.name],
                    "alone": self.alone[rule.name],
                    "histogram": _bars(self.histograms.get(rule.name, Counter()), rule.scale),
                }
                for rule in rules
            },
            "overlaps": [[first, second, count] for (first, second), count in self.overlaps.most_common()],
            "victims": self.victims,
        }

    def write(self, path: Path, rules: Sequence[CountedRule] = ()) -> None:
        """Writes ``ledger.json``."""
        text = json.dumps(self.to_json(rules), indent=1, ensure_ascii=False)
        path.write_bytes((text + "\n").encode("utf-8", "replace"))

    def print(self, console: Console, title: str) -> None:
        """Print the table of reasons."""
        table = Table("", "documents", "share", "any reason", "only reason", title=title, title_justify="left")
        table.columns[0].no_wrap = True
        for name, count in (("read", self.read), ("kept", self.kept)):
            table.add_row(name, f"{count:,}", f"{count / max(1, self.read):.1%}", "", "")
        for name, count in self.dropped.most_common():
            others = (f"{self.fired[name]:,}", f"{self.alone[name]:,}") if name in self.fired else ("", "")
            table.add_row(f"dropped: {name}", f"{count:,}", f"{count / max(1, self.read):.1%}", *others)
        table.add_row("malformed", f"{self.malformed:,}", "", "", "")
        table.add_row("kept text", f"{self.kept_bytes / 1e6:.1f} MB", "", "", "")
        console.print(table)
        self._print_languages(console)
        for place in self.malformed_examples[:3]:
            console.print(f"malformed: {place}", highlight=False, markup=False)

    def _print_languages(self, console: Console) -> None:
        lost = self.dropped_by_language
        codes = self.kept_by_language.keys() | lost.keys()
        read = {code: self.kept_by_language[code] + lost.get(code, Counter()).total() for code in codes}
        table = Table("language", "documents", "kept", "share", "dropped most by")
        for code in sorted(read, key=lambda code: (-read[code], code))[:LANGUAGES_PRINTED]:
            kept, most = self.kept_by_language[code], lost.get(code, Counter()).most_common(3)
            told = ", ".join(f"{rule} {count:,}" for rule, count in most)
            table.add_row(code, f"{read[code]:,}", f"{kept:,}", f"{kept / read[code]:.1%}", told)
        if read:
            console.print(table)

    def _source(self, source: str) -> str:
        if source not in self._sources:
            if len(self._sources) >= MOST_SOURCES:
                return OTHER_SOURCES
            self._sources.add(source)
        return source


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def bin_of(score: float, scale: str) -> int:
    """The number of the histogram's bar that a score falls into."""
    if scale == "share":
        return min(max(int(score * SHARE_BINS), 0), SHARE_BINS)
    return int(math.log2(1 + max(score, 0.0)) * COUNT_BINS_PER_DOUBLING)


def bin_start(number: int, scale: str) -> float:
    """The smallest score of a bar."""
    return number / SHARE_BINS if scale == "share" else 2 ** (number / COUNT_BINS_PER_DOUBLING) - 1


def _bars(counts: Counter[int], scale: str) -> list[list[float]]:
    """From the first bar that is not empty to the last: smallest score, smallest score of the next, documents."""
    numbers: Sequence[int] = range(min(counts), max(counts) + 1) if counts else ()
    return [
        [round(bin_start(number, scale), 4), round(bin_start(number + 1, scale), 4), counts[number]]
        for number in numbers
    ]
