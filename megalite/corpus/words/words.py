"""A document's words, split once and shared by all filters: numbers of words in a table that remembers their nature."""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from megalite.corpus.words.language_model import SAMPLE, languages_of
from megalite.corpus.words.languages import ENGLISH, language
from megalite.corpus.words.ngrams import NgramCharacters, Numbers, ngram_characters
from megalite.corpus.words.punctuation import SENTENCE_END, SYMBOLS
from megalite.corpus.words.split_words import word_rules

WORD = re.compile(r"\w+(?:['’]\w+)*")
"""A word where only sameness counts, not the number (deduplication)."""
MOST_WORDS = 1 << 20
"""Words and pieces the table remembers (some 200 MB); then it starts anew, between two documents."""
WIDE_SPACE = re.compile(r"\s{2,}|[^\S ]")
PIECE_OR_WIDE_SPACE = re.compile(r"\S+|\s{2,}|[^\S ]")
SENTENCE_BREAK = re.compile("e[ep]*w")
Made = TypeVar("Made")


class WordTable:
    """Every word met, with a number, its length and its nature; and how a piece between white space splits into them."""

    def __init__(self) -> None:
        """Empty; call :func:`word_table` for the process's own."""
        self._rules = word_rules()
        self.clear()

    def clear(self) -> None:
        """Forget everything. Numbers given before are void."""
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._pieces = _Pieces(self)
        self._kinds = _Kinds(self)
        self._room = 1 << 12
        self.lengths = np.zeros(self._room, dtype=np.int64)
        """Characters of each word."""
        self.is_symbol = np.zeros(self._room, dtype=bool)
        """Made of marks alone."""
        self.has_letter = np.zeros(self._room, dtype=bool)
        """Has an alphabetic character."""

    def split(self, text: str) -> Numbers:
        """The text's words as numbers of this table."""
        pieces = text.split()
        return np.fromiter(chain.from_iterable(map(self._pieces.__getitem__, pieces)), dtype=np.int64)

    def knows(self, word: str) -> bool:
        """Whether the word was met."""
        return word in self._numbers

    def number_of(self, word: str) -> int:
        """The number of a word that was met."""
        return self._numbers[word]

    def sentences(self, line: str) -> int:
        """Sentences of a line: a full stop of its own and the marks after it end one, if any word follows."""
        pieces = PIECE_OR_WIDE_SPACE.findall(line) if WIDE_SPACE.search(line) else line.split()
        kinds = "".join(map(self._kinds.__getitem__, pieces))
        return len(SENTENCE_BREAK.findall(kinds)) + 1 if kinds else 0

    def make_room(self) -> None:
        """Start anew where the table is full; only between two documents."""
        if len(self._pieces) + len(self.words) + len(self._kinds) > MOST_WORDS:
            self.clear()

    def learn(self, piece: str) -> tuple[int, ...]:
        """Split a piece that was not met before into the numbers of its words."""
        return tuple(map(self._number, self._rules.split(piece)))

    def kinds(self, piece: str) -> str:
        """A letter for each word of the piece: ``e`` ends a sentence, ``p`` is punctuation, ``w`` anything else."""
        return "w" if piece.isspace() else "".join(_kind(self.words[number]) for number in self._pieces[piece])

    def _number(self, word: str) -> int:
        number = self._numbers.get(word)
        if number is None:
            number = self._numbers[word] = len(self.words)
            self.words.append(word)
            if number == self._room:
                self._room *= 2
                self.lengths, self.is_symbol, self.has_letter = (
                    np.resize(values, self._room) for values in (self.lengths, self.is_symbol, self.has_letter)
                )
            self.lengths[number] = len(word)
            self.is_symbol[number] = SYMBOLS.issuperset(word)
            self.has_letter[number] = word.isalpha() or any(map(str.isalpha, word))
        return number


class _Pieces(dict[str, tuple[int, ...]]):
    def __init__(self, table: WordTable) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, piece: str) -> tuple[int, ...]:
        numbers = self[piece] = self._table.learn(piece)
        return numbers


class _Kinds(dict[str, str]):
    def __init__(self, table: WordTable) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, piece: str) -> str:
        kinds = self[piece] = self._table.kinds(piece)
        return kinds


def content_digest(text: str) -> bytes:
    """Sixteen bytes that are equal for texts of the same words, white space, marks and case aside."""
    words = " ".join(WORD.findall(text.lower()))
    return hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=16).digest()


def _kind(word: str) -> str:
    if word in SENTENCE_END:
        return "e"
    return "p" if all(unicodedata.category(character).startswith("P") for character in word) else "w"


class Text:
    """A document's text with what the filters share, each made at the first use."""

    def __init__(self, text: str, table: WordTable, languages: Sequence[str] = (ENGLISH,)) -> None:
        """``table`` must not be cleared while this is in use; ``languages`` are those that the recipe keeps."""
        self.text = text
        self.table = table
        self.edits: Counter[str] = Counter()
        """What was changed in the text so far."""
        self._languages = languages
        self._made: dict[Any, Any] = {}

    def edited(self, text: str, edits: Counter[str]) -> "Text":
        """The document with another text, by these changes; its language stays."""
        after = Text(text, self.table, (self.language,))
        after.edits = self.edits + edits
        return after

    @cached_property
    def language(self) -> str:
        """The code of the document's language: the likeliest of those that the recipe keeps, if it is one of these.

        A recipe that keeps one language does not ask: all documents are judged as of this one.
        """
        if len(self._languages) == 1:
            return self._languages[0]
        found = self.languages_in(SAMPLE)
        kept = {code: found[code] for code in self._languages if code in found}
        likely = kept if sum(kept.values()) >= 0.5 else found or dict.fromkeys(self._languages, 0.0)
        return max(likely, key=likely.__getitem__)

    def languages_in(self, sample: int) -> dict[str, float]:
        """Likely languages and their probabilities, as :func:`languages_of` gives them."""
        return self.once(("languages", sample), lambda: languages_of(self.text, sample))

    @cached_property
    def numbers(self) -> Numbers:
        """The words (marks too) as numbers of the table."""
        return self.table.split(self.text)

    @cached_property
    def lengths(self) -> Numbers:
        """Characters of each word."""
        return self.table.lengths[self.numbers]

    @cached_property
    def is_symbol(self) -> npt.NDArray[np.bool_]:
        """For each word, whether it is made of marks alone."""
        return self.table.is_symbol[self.numbers]

    @cached_property
    def words(self) -> list[str]:
        """The words and marks as text."""
        words = self.table.words
        return [words[number] for number in self.numbers.tolist()]

    @cached_property
    def real_words(self) -> int:
        """Words that are not marks alone."""
        return len(self.numbers) - int(np.count_nonzero(self.is_symbol))

    @cached_property
    def mean_word_length(self) -> float:
        """Characters of a word, marks left out; 0 where there is none."""
        if not self.real_words:
            return 0.0
        return int(self.lengths[~self.is_symbol].sum()) / self.real_words

    @cached_property
    def relative_word_length(self) -> float:
        """The mean word length, scaled as if the language had words of English length; NaN where that is not known."""
        relative = language(self.language).word_length
        return math.nan if relative is None else self.mean_word_length / relative

    @cached_property
    def lettered_share(self) -> float:
        """Share of the words, marks counted, that hold a letter; 1 where there is no word."""
        if not len(self.numbers):
            return 1.0
        return int(np.count_nonzero(self.table.has_letter[self.numbers])) / len(self.numbers)

    @cached_property
    def lines(self) -> list[str]:
        """Lines with something in them, white space at the ends taken off."""
        return [stripped for line in self.text.splitlines() if (stripped := line.strip())]

    @cached_property
    def ngrams(self) -> NgramCharacters:
        """Repeated n-grams of the words."""
        return ngram_characters(self.numbers, self.lengths)

    def once(self, key: object, make: Callable[[], Made]) -> Made:
        """What ``make`` gives, asked only the first time for this key: work that several rules of a filter share."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    @cached_property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    def found(self, words: Sequence[str]) -> list[str]:
        """Those of these words that occur, as they are written."""
        known = [word for word in words if self.table.knows(word)]
        present = np.isin([self.table.number_of(word) for word in known], self.numbers)
        return [word for word, is_present in zip(known, present.tolist(), strict=True) if is_present]
