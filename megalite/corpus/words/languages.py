"""What the rules need to know about a language.

The table ``languages.tsv`` holds stop words and mean word lengths; ``benchmarks/languages.py`` derives it from two corpora
and says what it is worth.
"""

from functools import cache
from importlib import resources
from typing import NamedTuple

ENGLISH = "en"
UNSPACED = frozenset("zh wuu yue ja th lo km my bo".split())
"""Written without spaces between words (Unicode 17, Standard Annex 14): counts of words say nothing."""
UNPUNCTUATED = frozenset("th lo bo".split())
"""Written without a mark that ends a sentence."""


class Language(NamedTuple):
    """A language as the rules see it."""

    stop_words: tuple[str, ...] = ()
    """Frequent function words; none where nobody has counted them."""
    word_length: float | None = None
    """Mean length of a word over that of an English one; None where nobody has counted."""
    has_spaces: bool = True
    """Between words."""
    has_sentence_marks: bool = True


@cache
def language(code: str) -> Language:
    """What is known about the language with this code, be it little."""
    length, stop_words = _table().get(code, (None, ()))
    relative = None if length is None else length / (_table()[ENGLISH][0] or 1.0)
    return Language(stop_words, relative, code not in UNSPACED, code not in UNPUNCTUATED)


@cache
def _table() -> dict[str, tuple[float | None, tuple[str, ...]]]:
    rows = (resources.files("megalite.corpus.words") / "languages.tsv").read_text(encoding="utf-8").splitlines()[1:]
    cells = [row.split("\t") for row in rows]
    return {code: (float(length), tuple(words.split())) for code, length, words in cells}
