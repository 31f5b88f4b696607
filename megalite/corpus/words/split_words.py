"""Splits a piece of text without white space into words and marks, exactly as spaCy's blank English pipeline does.

datatrove counts words with spaCy, so the usual thresholds of the papers' rules refer to such counts.
:mod:`megalite.corpus.words.words` caches the result for each piece, which makes splitting fast.
"""

import re
import unicodedata
from functools import cache

from megalite.corpus.words.english_words import special_words

LONGEST_SPLIT = 2000
"""Characters. Longer pieces (dumps, keys) are split at every change between letters and marks, in linear time."""

PUNCT = ",:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪…"
QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа "
    "Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ كوب اكواب"
).split()
LONGEST_UNIT = max(map(len, UNITS))
DOLLARS = ("US$", "C$", "A$")
POSSESSIVES = ("'s", "'S", "’s", "’S")
LATIN = (
    *((0x41, 0x5B), (0x61, 0x7B), (0xC0, 0xD7), (0xD8, 0xF7), (0xF8, 0x250), (0x1E00, 0x1F00), (0x2C60, 0x2C7C)),
    *((0x2C7E, 0x2C80), (0xA722, 0xA770), (0xA771, 0xA788), (0xA78B, 0xA78F), (0xA790, 0xA7BA), (0xA7FA, 0xA7FB)),
    *((0xFF21, 0xFF3B), (0xFF41, 0xFF5B)),
)
PHONETIC = ((0x250, 0x2B0), (0x1D00, 0x1D26), (0x1D6B, 0x1D78), (0x1D79, 0x1D9B), (0xAB30, 0xAB5B), (0xAB60, 0xAB65))
CYRILLIC_AND_GREEK = "ёабвгдежзийклмнопрстуфхцчшщъыьэюяәөүҗңһαβγδεζηθικλμνξοπρςστυφχψωάέίόώήύіїєґѓѕјљњќѐѝ"
NO_CASE = (
    "ሀ-፿ঀ-৿\u0591-\u05f4\ufb1d-\ufb4f\u0620-\u064a\u066e-\u06d5\u06e5-\u06ff\u0750-\u077f\u08a0-\u08bd\ufb50-\ufbb1"
    "\ufbd3-\ufd3d\ufd50-\ufdc7\ufdf0-\ufdfb\ufe70-\ufefc\U0001ee00-\U0001eebb\u0d80-\u0dff\u0900-\u097f\u0c80-\u0cff"
    "\u0b80-\u0bff\u0c00-\u0c7f\uac00-\ud7af\u1100-\u11ff\u3040-\u309f\u30a0-\u30ffー\u4e00-\u9fff\u3400-\u4dbf"
    "\U00020000-\U0002a6df\U0002a700-\U0002ebef\u2e80-\u2fdf\u2ff0-\u303f\u31c0-\u31ef\u3200-\u33ff\uf900-\ufaff"
    "\ufe30-\ufe4f\U0001f200-\U0001f2ff\U0002f800-\U0002fa1f"
)
"""Ethiopic, Bengali, Hebrew, Arabic, Sinhala, Devanagari, Kannada, Tamil, Telugu, Hangul, Kana, Han."""
SYMBOL_RANGES = ((0xA6, 0xFFFE), (0x10137, 0x1FA6E))

URL = (
    r"(?:[\w+\-.]{2,}://)?"
    r"(?:\S+(?::\S*)?@)?"
    r"(?:"
    r"(?!(?:10|127)(?:\.\d{1,3}){3})(?!(?:169\.254|192\.168)(?:\.\d{1,3}){2})(?!172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})"
    r"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4])"
    r"|"
    r"(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+[LOWER]{2,63}"
    r")"
    r"(?::\d{2,5})?(?:[/?#]\S*)?"
)
"""A URL, which is not split: optional scheme and user, a public IPv4 address or host name, port, path."""
LINEAR = re.compile(r"\w+|[^\w\s]+")


class WordRules:
    """The compiled splitting rules. Building them takes some 50 ms; use :func:`word_rules`."""

    def __init__(self) -> None:
        latin = [chr(code) for start, stop in LATIN for code in range(start, stop)]
        phonetic = "".join(chr(code) for start, stop in PHONETIC for code in range(start, stop))
        small = "".join(c for c in latin if c.islower()) + phonetic + CYRILLIC_AND_GREEK + NO_CASE
        capital = "".join(c for c in latin if c.isupper()) + CYRILLIC_AND_GREEK.replace("ς", "").upper() + NO_CASE
        letter = small + capital + "".join(c for c in latin if not c.islower() and not c.isupper())
        codes = (code for start, stop in SYMBOL_RANGES for code in range(start, stop))
        symbols = "".join(symbol for code in codes if unicodedata.category(symbol := chr(code)) == "So")
        quotes = re.escape(QUOTES)
        self._first = frozenset(PUNCT + QUOTES + CURRENCY + "§%=—–" + symbols)
        self._last = frozenset(PUNCT + QUOTES + "—–" + symbols)
        self._unit_ends = frozenset(unit[-1] for unit in UNITS)
        units = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))
        self._after_digit = re.compile(rf"(?<=[0-9])(?:\+|US\$|C\$|A\$|[{re.escape(CURRENCY)}]|{units})\Z")
        self._full_stop = re.compile(
            rf"(?:\.\.+|(?<=[0-9{small}%²\-+|(?:){re.escape(PUNCT)}{quotes}])\."
            rf"|(?<=[{capital}][{capital}])\.|(?<=°[FfCcKk])\.)\Z"
        )
        self._infix = _infix(letter, small, capital, QUOTES, rf"|…|[{symbols}]", "–|—|--|---|——|~")
        self._ascii_infix = _infix("A-Za-z", "a-z", "A-Z", "'\"`,", "", "--|---|~")  # small sets search faster
        self._url = re.compile(URL.replace("LOWER", small))
        self._special = special_words()
        broken = {tuple(self._split(word, {})): word for word in self._special}
        self._broken = {pieces: word for pieces, word in broken.items() if len(pieces) > 1}
        """The special words that the rules alone would split, by their pieces."""
        self._broken_starts = frozenset(pieces[0] for pieces in self._broken)
        self._longest_broken = max(map(len, self._broken))

    def split(self, piece: str) -> list[str]:
        """Returns the words and marks of a piece without white space. Joined, they give the piece."""
        if piece in self._special:
            return list(self._special[piece])
        if piece.isalpha():
            return [piece]
        rest, last = piece[:-1], piece[-1]
        is_end = last in self._last or (last == "." and "a" <= rest[-1:] <= "z")
        if is_end and rest.isalpha() and rest not in self._special:  # by far the most frequent case
            return [rest, last]
        if len(piece) > LONGEST_SPLIT:
            return LINEAR.findall(piece)
        words = self._split(piece, self._special)
        return words if len(words) == 1 or self._broken_starts.isdisjoint(words) else self._rejoin(words)

    def _split(self, piece: str, special: dict[str, tuple[str, ...]]) -> list[str]:
        """Strips marks from both ends until a special word or no mark is left, then splits the rest."""
        front: list[str] = []
        back: list[str] = []
        while piece and piece not in special:
            start = self._prefix_length(piece)
            if start and piece[start:] in special:
                front.append(piece[:start])
                piece = piece[start:]
                break
            end = self._suffix_length(piece[start:])
            if end and piece[:-end] in special:
                back.append(piece[-end:])
                piece = piece[:-end]
                break
            if not start and not end:
                break
            if start:
                front.append(piece[:start])
            if end:
                back.append(piece[-end:])
            piece = piece[start : len(piece) - end]
        if piece in special:
            front += special[piece]
        elif piece:
            whole = piece.isalnum() or ("." in piece and self._url.fullmatch(piece))
            front += [piece] if whole else self._inside(piece)
        return front + back[::-1]

    def _prefix_length(self, piece: str) -> int:
        first = piece[0]
        if first in self._first:
            return 1
        if first == ".":
            dots = len(piece) - len(piece.lstrip("."))
            return dots if dots > 1 else 0
        if first == "+":
            return 0 if "0" <= piece[1:2] <= "9" else 1
        return next((len(money) for money in DOLLARS if piece.startswith(money)), 0) if first in "UCA" else 0

    def _suffix_length(self, piece: str) -> int:
        last = piece[-1:]
        if last == ".":
            match = self._full_stop.search(piece, max(0, len(piece.rstrip(".")) - 3))
            return len(match.group()) if match else 0
        if last in self._last:
            return 2 if piece.endswith("……") else 1
        if piece[-2:] in POSSESSIVES:
            return 2
        if last in self._unit_ends or last in CURRENCY or last == "+":
            match = self._after_digit.search(piece, max(0, len(piece) - LONGEST_UNIT - 1))
            return len(match.group()) if match else 0
        return 0

    def _inside(self, piece: str) -> list[str]:
        words, start = [], 0
        infix = self._ascii_infix if piece.isascii() else self._infix
        for mark in infix.finditer(piece):
            if mark.start() == 0:
                continue
            if mark.start() > start:
                words.append(piece[start : mark.start()])
            words.append(mark.group())
            start = mark.end()
        return [*words, piece[start:]] if start < len(piece) else words

    def _rejoin(self, words: list[str]) -> list[str]:
        """Rejoins special words that the rules have split (``Mr.Smith``): the longest first, then the earliest.

        A match that overlaps an earlier one is dropped, but still blocks matches that overlap it, as in spaCy.
        """
        found = []
        for length in range(min(self._longest_broken, len(words)), 1, -1):
            for start in range(len(words) - length + 1):
                if words[start] in self._broken_starts and tuple(words[start : start + length]) in self._broken:
                    found.append((start, length))
        chosen: dict[int, int] = {}
        seen: set[int] = set()
        for start, length in found:
            if start not in seen and start + length - 1 not in seen:
                chosen[start] = length
            seen.update(range(start, start + length))
        joined: list[str] = []
        start = 0
        while start < len(words):
            length = chosen.get(start, 1)
            joined += (
                self._special[self._broken[tuple(words[start : start + length])]] if length > 1 else [words[start]]
            )
            start += length
        return joined


def _infix(letter: str, small: str, capital: str, quotes: str, symbols: str, dashes: str) -> re.Pattern[str]:
    quotes = re.escape(quotes)
    return re.compile(
        rf"\.\.+{symbols}|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{small}{quotes}])\.(?=[{capital}{quotes}])"
        rf"|(?<=[{letter}]),(?=[{letter}])|(?<=[{letter}0-9])(?:-|{dashes})(?=[{letter}])"
        rf"|(?<=[{letter}0-9])[:<>=/](?=[{letter}])"
    )


@cache
def word_rules() -> WordRules:
    return WordRules()
