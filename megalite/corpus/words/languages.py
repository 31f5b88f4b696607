"""Properties of languages that the filter rules depend on.

The table ``languages.tsv`` contains stop words and mean word lengths; ``benchmarks/languages.py`` derives it from two
corpora and evaluates it.
"""

from functools import cache
from importlib import resources
from typing import NamedTuple

ENGLISH = "en"
UNSPACED = frozenset("zh wuu yue ja th lo km my bo".split())
"""Languages without spaces between words (Unicode 17, Standard Annex 14); word counts mean nothing for them."""
UNPUNCTUATED = frozenset("th lo bo".split())
"""Languages without sentence-ending punctuation."""


class Language(NamedTuple):
    stop_words: tuple[str, ...] = ()
    """Frequent function words; empty if unknown."""
    word_length: float | None = None
    """Mean word length relative to English; None if unknown."""
    has_spaces: bool = True
    """Whether spaces separate words."""
    has_sentence_marks: bool = True


@cache
def language(code: str) -> Language:
    """Returns the properties of a language; the defaults for an unknown code."""
    length, stop_words = _table().get(code, (None, ()))
    relative = None if length is None else length / (_table()[ENGLISH][0] or 1.0)
    return Language(stop_words, relative, code not in UNSPACED, code not in UNPUNCTUATED)


@cache
def _table() -> dict[str, tuple[float | None, tuple[str, ...]]]:
    rows = (resources.files("megalite.corpus.words") / "languages.tsv").read_text(encoding="utf-8").splitlines()[1:]
    cells = [row.split("\t") for row in rows]
    return {code: (float(length), tuple(words.split())) for code, length, words in cells}
