"""The words of a document, split once and shared by all filters, as indices into a table of words."""

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
"""A word for comparisons (deduplication); filters count the words of ``split_words`` instead."""
MOST_WORDS = 1 << 20
"""Maximum number of words and pieces in the table (some 200 MB). A full table is cleared between two documents."""
WIDE_SPACE = re.compile(r"\s{2,}|[^\S ]")
PIECE_OR_WIDE_SPACE = re.compile(r"\S+|\s{2,}|[^\S ]")
SENTENCE_BREAK = re.compile("e[ep]*w")
Made = TypeVar("Made")


class WordTable:
    """The words seen so far, each with a number and its properties, and the splits of pieces between white space."""

    def __init__(self) -> None:
        self._rules = word_rules()
        self.clear()

    def clear(self) -> None:
        """Clears the table. Word numbers returned earlier become invalid."""
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._pieces = _Pieces(self)
        self._kinds = _Kinds(self)
        self._room = 1 << 12
        self.lengths = np.zeros(self._room, dtype=np.int64)
        """Number of characters of each word."""
        self.is_symbol = np.zeros(self._room, dtype=bool)
        """Whether the word consists only of marks."""
        self.has_letter = np.zeros(self._room, dtype=bool)
        """Whether the word has an alphabetic character."""

    def split(self, text: str) -> Numbers:
        """Returns the words of the text as numbers of this table."""
        pieces = text.split()
        return np.fromiter(chain.from_iterable(map(self._pieces.__getitem__, pieces)), dtype=np.int64)

    def knows(self, word: str) -> bool:
        return word in self._numbers

    def number_of(self, word: str) -> int:
        return self._numbers[word]

    def sentences(self, line: str) -> int:
        """Counts the sentences of a line: a separate full stop and the marks after it end one if a word follows."""
        pieces = PIECE_OR_WIDE_SPACE.findall(line) if WIDE_SPACE.search(line) else line.split()
        kinds = "".join(map(self._kinds.__getitem__, pieces))
        return len(SENTENCE_BREAK.findall(kinds)) + 1 if kinds else 0

    def make_room(self) -> None:
        """Clears the table if it is full. Call this only between two documents."""
        if len(self._pieces) + len(self.words) + len(self._kinds) > MOST_WORDS:
            self.clear()

    def learn(self, piece: str) -> tuple[int, ...]:
        """Splits a new piece into the numbers of its words."""
        return tuple(map(self._number, self._rules.split(piece)))

    def kinds(self, piece: str) -> str:
        """Returns a letter for each word of the piece: ``e`` ends a sentence, ``p`` is punctuation, ``w`` anything else."""
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
    """Returns 16 bytes that are equal for texts with the same words, ignoring white space, marks and case."""
    words = " ".join(WORD.findall(text.lower()))
    return hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=16).digest()


def _kind(word: str) -> str:
    if word in SENTENCE_END:
        return "e"
    return "p" if all(unicodedata.category(character).startswith("P") for character in word) else "w"


class Text:
    """The text of a document with the values that filters share, each computed at first use."""

    def __init__(self, text: str, table: WordTable, languages: Sequence[str] = (ENGLISH,)) -> None:
        """``table`` must not be cleared while the object is in use; ``languages`` are those that the recipe keeps."""
        self.text = text
        self.table = table
        self.edits: Counter[str] = Counter()
        """The changes made to the text so far, by kind."""
        self._languages = languages
        self._made: dict[Any, Any] = {}

    def edited(self, text: str, edits: Counter[str]) -> "Text":
        """Returns the document with its text replaced; the language stays the same."""
        after = Text(text, self.table, (self.language,))
        after.edits = self.edits + edits
        return after

    @cached_property
    def language(self) -> str:
        """The most likely language: among those that the recipe keeps if together they are likely, else among all.

        If the recipe keeps only one language, every document is judged as that language.
        """
        if len(self._languages) == 1:
            return self._languages[0]
        found = self.languages_in(SAMPLE)
        kept = {code: found[code] for code in self._languages if code in found}
        likely = kept if sum(kept.values()) >= 0.5 else found or dict.fromkeys(self._languages, 0.0)
        return max(likely, key=likely.__getitem__)

    def languages_in(self, sample: int) -> dict[str, float]:
        """Returns the likely languages and their probabilities, see :func:`languages_of`."""
        return self.once(("languages", sample), lambda: languages_of(self.text, sample))

    @cached_property
    def numbers(self) -> Numbers:
        """The words and marks, as numbers of the table."""
        return self.table.split(self.text)

    @cached_property
    def lengths(self) -> Numbers:
        """Number of characters of each word."""
        return self.table.lengths[self.numbers]

    @cached_property
    def is_symbol(self) -> npt.NDArray[np.bool_]:
        """Whether each word consists only of marks."""
        return self.table.is_symbol[self.numbers]

    @cached_property
    def words(self) -> list[str]:
        """The words and marks as text."""
        words = self.table.words
        return [words[number] for number in self.numbers.tolist()]

    @cached_property
    def real_words(self) -> int:
        """Number of words that do not consist only of marks."""
        return len(self.numbers) - int(np.count_nonzero(self.is_symbol))

    @cached_property
    def mean_word_length(self) -> float:
        """Mean number of characters of the words that are not marks; 0 if there are none."""
        if not self.real_words:
            return 0.0
        return int(self.lengths[~self.is_symbol].sum()) / self.real_words

    @cached_property
    def relative_word_length(self) -> float:
        """The mean word length, rescaled to the length of English words; NaN if the language's length is unknown."""
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
        """Returns ``make()``, computed once per key: for work that several rules of a filter share."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    @cached_property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    def found(self, words: Sequence[str]) -> list[str]:
        """Returns those of the words that occur in the text, case-sensitively."""
        known = [word for word in words if self.table.knows(word)]
        present = np.isin([self.table.number_of(word) for word in known], self.numbers)
        return [word for word, is_present in zip(known, present.tolist(), strict=True) if is_present]
