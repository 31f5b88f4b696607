"""Signs of spam and of pages for search engines: capitals, links, calls to action, keyword stuffing."""

import re
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat

from megalite.corpus.filters.rule import Filter, Rule
from megalite.corpus.words.words import Text

LINK = re.compile(r"https?://|www\.|\[url", re.IGNORECASE)
MONEY = re.compile(r"[$£€]\s?[0-9]|[0-9]\s?(?:usd|eur|gbp|p/min)\b", re.IGNORECASE)
OFFERS = re.compile(
    r"\b(?:click (?:here|below|the link|now)|unsubscrib\w*|removed? from (?:our|this|the|future) (?:mailing )?list|act now"
    r"|limited time|risk[- ]free|money[- ]back|no obligation|100% (?:free|guaranteed)|order now|buy now|winner|guaranteed"
    r"|free (?:trial|gift|quote|entry|info\w*|msg|shipping)|(?:earn|make|save|win|won) (?:up to )?[$£€]|cash prize|txt"
    r"|you have (?:been|won)|claim (?:your|now|code)|call now|text \w+ to [0-9]+|extra income|work (?:at|from) home"
    r"|lowest price\w*|credit card|viagra|cialis|casino|payday loan\w*|mortgage rate\w*|weight loss|enlarge\w*"
    r"|million (?:dollars|pounds|usd)|next of kin|bulk e?mail\w*|dear (?:friend|sir|winner|customer))\b",
    re.IGNORECASE,
)


SHORT = 50
"""Minimum denominator for per-word rates: in a text of ten words, a single mark means nothing."""


def _per_word(count: int, text: Text) -> float:
    return count / max(SHORT, text.real_words)


def _matches(pattern: re.Pattern[str]) -> Callable[[Text, "SpamFilter"], float]:
    return lambda text, _: _per_word(len(pattern.findall(text.text)), text)


def _capital_words(text: Text, limits: "SpamFilter") -> float:
    long = [word for word in text.words if len(word) > 3 and word.isalpha()]
    return sum(map(str.isupper, long)) / max(SHORT // 2, len(long))


def _top_word(text: Text, limits: "SpamFilter") -> float:
    """Considers words of five letters or more; shorter ones are frequent in any text."""
    long = text.numbers[(text.lengths > 4) & ~text.is_symbol]
    return _per_word(int(np.bincount(long - long.min()).max()), text) if len(long) else 0.0


class SpamFilter(Filter):
    """Signs of spam, with thresholds that almost no ordinary text exceeds; ``null`` turns a rule off."""

    kind: Literal["spam"]
    max_offers_per_word: NonNegativeFloat | None = 0.02
    """Maximum number of English phrases of advertisement and fraud per word: click here, act now, risk-free ..."""
    max_links_per_word: NonNegativeFloat | None = 0.1
    """Maximum number of links per word."""
    max_money_per_word: NonNegativeFloat | None = 0.05
    """Maximum number of sums of money per word."""
    max_exclamation_marks_per_word: NonNegativeFloat | None = 0.1
    """Maximum number of exclamation marks per word."""
    max_capital_words: NonNegativeFloat | None = 0.4
    """Maximum share of words in capitals, among words of four letters or more."""
    max_top_word: NonNegativeFloat | None = 0.1
    """Maximum share of the most frequent word of five letters or more, a sign of keyword stuffing."""

    PREFIX: ClassVar[str] = "spam_"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("offers", "max_offers_per_word", "above", _matches(OFFERS), basis="English"),
        Rule("links", "max_links_per_word", "above", _matches(LINK), basis="spaces"),
        Rule("money", "max_money_per_word", "above", _matches(MONEY), basis="spaces"),
        Rule(
            "exclamation_marks",
            "max_exclamation_marks_per_word",
            "above",
            lambda text, _: _per_word(text.text.count("!"), text),
            basis="spaces",
        ),
        Rule("capital_words", "max_capital_words", "above", _capital_words),
        Rule("top_word", "max_top_word", "above", _top_word, basis="spaces"),
    )
