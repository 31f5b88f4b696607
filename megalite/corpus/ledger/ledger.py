"""Counts of the documents that a stage kept and dropped, by rule, source and language, with examples."""

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

EXAMPLES_KEPT = 10
EXCERPT = 300
MOST_SOURCES = 1000
"""Number of sources counted by name; later ones are counted together."""
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
    """The counts of one stage. At the end, ``read == kept + dropped`` is checked."""

    stage: str = "filter"
    read: int = 0
    kept: int = 0
    malformed: int = 0
    malformed_examples: list[str] = field(default_factory=list)
    kept_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Documents by reason: the first rule that drops them."""
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    kept_by_source: Counter[str] = field(default_factory=Counter)
    dropped_by_source: dict[str, Counter[str]] = field(default_factory=dict)
    kept_by_language: Counter[str] = field(default_factory=Counter)
    """By the language as which the filters judged a document, if the recipe keeps several."""
    dropped_by_language: dict[str, Counter[str]] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    """Documents that a rule would drop, by rule."""
    alone: Counter[str] = field(default_factory=Counter)
    """Documents that only this rule drops: turning it off would keep them."""
    overlaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    histograms: dict[str, Counter[int]] = field(default_factory=dict)
    edited: Counter[str] = field(default_factory=Counter)
    """Changes to kept text, by kind (masked addresses, removed lines)."""
    _samples: dict[str, list[tuple[int, int, dict[str, Any]]]] = field(default_factory=dict)
    _sources: set[str] = field(default_factory=set)

    def keep(self, source: str, text: str, size: int | None = None, language: str | None = None) -> None:
        """Counts a kept document. ``size`` is its number of bytes if ``text`` is only an excerpt."""
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
        """Counts a dropped document. Every document of a rule has the same chance to become one of its examples.

        Args:
            more: recorded with the example, such as its score or its twin.
        """
        self.dropped[rule] += 1
        self.dropped_bytes[rule] += _bytes(text) if size is None else size
        self.dropped_by_source.setdefault(self._source(source), Counter())[rule] += 1
        if language is not None:
            self.dropped_by_language.setdefault(language, Counter())[rule] += 1
        lot = int.from_bytes(hashlib.blake2b(f"{rule} {place}".encode("utf-8", "replace"), digest_size=6).digest())
        sample = self._samples.setdefault(rule, [])
        if len(sample) < EXAMPLES_KEPT or lot < sample[-1][0]:
            sample.append((lot, self.read, {"place": place, "text": text[:EXCERPT], **more}))
            sample.sort(key=lambda entry: entry[:2])
            del sample[EXAMPLES_KEPT:]

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
        """Adds the counts of another part of the same stage."""
        self.read += other.read
        self.kept += other.kept
        self.malformed += other.malformed
        self.malformed_examples = (self.malformed_examples + other.malformed_examples)[:EXAMPLES_KEPT]
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
        for rule, sample in other._samples.items():
            both = sorted(self._samples.get(rule, []) + sample, key=lambda entry: entry[:2])
            self._samples[rule] = both[:EXAMPLES_KEPT]

    def then(self, later: "Ledger") -> "Ledger":
        """Returns the counts of this stage and the next as one: the documents that either dropped and the last kept.

        Raises: DataError if the next stage did not read the number of documents that this one kept.
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
    def dropped_examples(self) -> dict[str, list[dict[str, Any]]]:
        """Up to ten documents of each rule, in reading order."""
        return {
            rule: [entry[2] for entry in sorted(sample, key=lambda e: e[1])] for rule, sample in self._samples.items()
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
            "dropped_examples": self.dropped_examples,
        }

    def write(self, path: Path, rules: Sequence[CountedRule] = ()) -> None:
        """Writes ``ledger.json``."""
        text = json.dumps(self.to_json(rules), indent=1, ensure_ascii=False)
        path.write_bytes((text + "\n").encode("utf-8", "replace"))

    def print(self, console: Console, title: str) -> None:
        """Prints the table of reasons."""
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
        table = Table("language", "documents", "kept", "share", "most frequent reasons")
        for code in sorted(read, key=lambda code: (-read[code], code))[:LANGUAGES_PRINTED]:
            kept, most = self.kept_by_language[code], lost.get(code, Counter()).most_common(3)
            reasons = ", ".join(f"{rule} {count:,}" for rule, count in most)
            table.add_row(code, f"{read[code]:,}", f"{kept:,}", f"{kept / read[code]:.1%}", reasons)
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
    """Returns the number of the histogram bin of a score."""
    if scale == "share":
        return min(max(int(score * SHARE_BINS), 0), SHARE_BINS)
    return int(math.log2(1 + max(score, 0.0)) * COUNT_BINS_PER_DOUBLING)


def bin_start(number: int, scale: str) -> float:
    """Returns the smallest score of a bin."""
    return number / SHARE_BINS if scale == "share" else 2 ** (number / COUNT_BINS_PER_DOUBLING) - 1


def _bars(counts: Counter[int], scale: str) -> list[list[float]]:
    """Returns ``[start, end, documents]`` for the bins from the first to the last that is not empty."""
    numbers: Sequence[int] = range(min(counts), max(counts) + 1) if counts else ()
    return [
        [round(bin_start(number, scale), 4), round(bin_start(number + 1, scale), 4), counts[number]]
        for number in numbers
    ]
