"""Applies the filters of a recipe in order: every rule scores a document, and each threshold it crosses is a reason."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from rich.console import Console

from megalite.config.errors import ConfigError
from megalite.corpus.filters.c4 import C4Paragraphs, C4Quality
from megalite.corpus.filters.classifier import ClassifierFilter
from megalite.corpus.filters.fineweb import FineWebQuality
from megalite.corpus.filters.gopher import GopherQuality, GopherRepetition
from megalite.corpus.filters.language import LanguageFilter
from megalite.corpus.filters.personal_data import PersonalDataFilter
from megalite.corpus.filters.prose import ProseFilter
from megalite.corpus.filters.rule import Filter, Rule
from megalite.corpus.filters.spam import SpamFilter
from megalite.corpus.filters.tokens import TokensPerWord
from megalite.corpus.words.languages import ENGLISH
from megalite.corpus.words.words import Text, WordTable

AnyFilter = Annotated[
    ProseFilter
    | GopherQuality
    | GopherRepetition
    | C4Quality
    | C4Paragraphs
    | FineWebQuality
    | SpamFilter
    | LanguageFilter
    | PersonalDataFilter
    | TokensPerWord
    | ClassifierFilter,
    Field(discriminator="kind"),
]


class ActiveRule(NamedTuple):
    """A rule with the name and threshold that a recipe gives it."""

    name: str
    rule: Rule
    threshold: float
    """NaN if the rule is scored but drops nothing."""

    @property
    def drops(self) -> Literal["below", "above"]:
        return self.rule.drops

    @property
    def scale(self) -> Literal["share", "count"]:
        return self.rule.scale

    def is_crossed(self, score: float) -> bool:
        """Whether the score drops the document; a NaN never does."""
        return score < self.threshold if self.rule.drops == "below" else score > self.threshold


@dataclass(frozen=True)
class Verdict:
    """The result of the filters for one document."""

    text: str
    """The text after the changes of the filters."""
    scores: list[float]
    """One per rule, in order; NaN if the rule was not applied."""
    edits: Counter[str]
    """Number of changes to the text, by kind."""
    reasons: list[str]
    """Rules that drop the document, in order; empty if it is kept."""
    language: str = ENGLISH
    """Code of the language as which the document was judged."""

    @property
    def reason(self) -> str | None:
        """The first rule that drops the document, under which the ledger counts it, or None."""
        return self.reasons[0] if self.reasons else None


class FilterChain:
    """The filters in the order of the recipe. They share the words of a document, which are split once."""

    def __init__(self, filters: Iterable[Filter], every_rule: bool = False) -> None:
        """``every_rule`` also scores the rules that are turned off; they drop nothing.

        Raises: ConfigError if two rules have the same name or a filter cannot work; FileNotFoundError.
        """
        filters = list(filters)
        self._table = WordTable()
        kept = [item.keep for item in filters if isinstance(item, LanguageFilter)]
        self.languages: tuple[str, ...] = kept[0] if kept else (ENGLISH,)
        """Codes of the languages that are kept; each document is judged as one of them."""
        self._steps: list[tuple[Filter, list[ActiveRule]]] = []
        self._notices: list[str] = []
        self._silent: dict[str, frozenset[str]] = {}
        for item in filters:
            item.check(self.languages)
            self._notices += item.notices(self.languages)
            limits = [(rule, getattr(item, rule.key)) for rule in item.RULES]
            rules = [
                ActiveRule(item.prefix + rule.name, rule, math.nan if limit is None else float(limit))
                for rule, limit in limits
                if limit is not None or every_rule
            ]
            self._steps.append((item, rules))
        self.rules = [rule for _, rules in self._steps for rule in rules]
        self.settings = {item.prefix + item.kind: _settings(item, self.languages) for item in filters}
        """For each filter, the options on which its scores depend, without the thresholds."""
        names = [rule.name for rule in self.rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"filters: rule '{min(twice)}' occurs twice; remove one of the two filters")

    def notices(self) -> list[str]:
        """Returns a line for each group of rules that cannot judge some of the languages that are kept."""
        found: dict[tuple[str, ...], list[str]] = {}
        for active in self.rules:
            missing = tuple(code for code in self.languages if not active.rule.holds_for(code))
            if missing and not math.isnan(active.threshold):
                found.setdefault(missing, []).append(active.name)
        return self._notices + [
            f"filters: documents in {', '.join(missing)} are not judged by {', '.join(names)}, which do not apply there"
            for missing, names in found.items()
        ]

    def judge(self, document: str, ask_all: bool = True) -> Verdict:
        """Judges a document. ``ask_all=False`` stops at the first reason: cheaper, but without overlaps of rules."""
        self._table.make_room()
        text = Text(document, self._table, self.languages)
        language = text.language
        silent = self._silent_in(language)
        scores: list[float] = []
        reasons: list[str] = []
        for item, rules in self._steps:
            dropped = False
            for active in rules:
                score = math.nan if active.name in silent else active.rule.score(text, item)
                scores.append(score)
                if active.is_crossed(score):
                    reasons.append(active.name)
                    dropped = True
                    if not ask_all:
                        scores += [math.nan] * (len(self.rules) - len(scores))
                        return Verdict(text.text, scores, text.edits, reasons, language)
            if not dropped:
                text = item.edit(text)
        return Verdict(text.text, scores, text.edits, reasons, language)

    def _silent_in(self, language: str) -> frozenset[str]:
        """Returns the rules that do not judge documents in a language."""
        if language not in self._silent:
            names = frozenset(active.name for active in self.rules if not active.rule.holds_for(language))
            self._silent[language] = names
        return self._silent[language]

    def reasons(self, scores: Sequence[float]) -> list[str]:
        """Returns the reasons of a document from its scores alone."""
        return [rule.name for rule, score in zip(self.rules, scores, strict=True) if rule.is_crossed(score)]


def _settings(item: Filter, languages: Sequence[str]) -> dict[str, Any]:
    thresholds = {rule.key for rule in item.RULES}
    return {"languages that are kept": list(languages)} | item.model_dump(mode="json", exclude=thresholds)


def tell(chain: FilterChain, console: Console) -> None:
    """Prints which rules cannot judge which languages."""
    for notice in chain.notices():
        console.print(notice, highlight=False, markup=False)
