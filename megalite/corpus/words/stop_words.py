"""Counts the different stop words in a document: ordinary text has some, lists and dumps have none."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from megalite.config.errors import ConfigError
from megalite.corpus.words.languages import language
from megalite.corpus.words.words import Text


def _words_or_mapping(value: Any) -> Any:
    """Raises one error message instead of one for each member of the union."""
    lists = list(value.values()) if isinstance(value, dict) else [] if value is None else [value]
    names = list(value) if isinstance(value, dict) else []
    words = [word for each in lists if isinstance(each, list | tuple) for word in each]
    if not all(isinstance(each, list | tuple) for each in lists) or not all(
        isinstance(w, str) and w for w in words + names
    ):
        raise ValueError("give a list of words, or lists by language as in {de: [und, nicht]}")
    return value


StopWords = Annotated[tuple[str, ...] | dict[str, tuple[str, ...]] | None, BeforeValidator(_words_or_mapping)]
"""Words for all languages, or words by language (with the table as the fallback), or None for the table."""


def stop_words_of(chosen: StopWords, code: str) -> tuple[str, ...]:
    """Returns the stop words of a language; empty if unknown."""
    if isinstance(chosen, tuple):
        return chosen
    return (chosen or {}).get(code) or language(code).stop_words


def count_stop_words(text: Text, chosen: StopWords, any_case: bool) -> float:
    """Returns the number of different stop words in the document; NaN if those of its language are unknown.

    Args:
        any_case: also count ``The`` and ``THE``.
    """
    words = stop_words_of(chosen, text.language)
    if not words:
        return math.nan
    if not any_case:
        return len(text.found(words))
    written = [form for word in words for form in (word, word.title(), word.upper())]
    return len({word.lower() for word in text.found(written)})


def check_stop_words(kind: str, chosen: StopWords, languages: Sequence[str]) -> None:
    """Raises: ConfigError if a language has no stop words, so that the rule cannot judge its documents."""
    for code in languages:
        if language(code).has_spaces and not stop_words_of(chosen, code):
            raise ConfigError(
                f"filters: {kind}: no stop words are known for '{code}', which the recipe keeps; give some under "
                f"stop_words: {{{code}: [...]}}, or min_stop_words: null"
            )
