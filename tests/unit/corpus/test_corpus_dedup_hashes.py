"""Word hashes against ``re`` and sets of words; signatures against the theory of MinHash."""

import re

import numpy as np
import pytest

from megalite.corpus.dedup.minhash import Bands, band_keys, signatures
from megalite.corpus.words.word_hashes import Ngrams, hash_words, ngrams, ngrams_of_long_text

TEXTS = [
    "The quick brown fox, the QUICK_brown fox; it's 3.14 times faster!",
    "",
    "one",
    "¿Qué pasó? Ñandú, straße, ΣΊΣΥΦΟΣ, Привет мир, שלום עולם",
    "... !!! ---",
    "fox the stop pots tops opts spot",
    "math 𝒳 and 😀 smile \ud800 lone",
]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_words_are_those_of_re_and_equal_words_have_equal_hashes() -> None:
    texts = [text for text in TEXTS if all(ord(letter) < 0xD800 for letter in text)]
    found = hash_words(texts)
    expected = [words(text) for text in texts]
    assert np.diff(found.bounds).tolist() == [len(document) for document in expected]
    starts = [match.start() for text in texts for match in re.finditer(r"\w+", text)]
    assert (found.starts - np.repeat(found.units, np.diff(found.bounds))).tolist() == starts
    spelled: dict[int, str] = {}
    for word, value in zip((w for document in expected for w in document), found.hashes.tolist(), strict=True):
        assert spelled.setdefault(value, word.lower()) == word.lower()
    assert len(spelled) == len({word.lower() for document in expected for word in document})


def test_a_document_hashes_alike_alone_and_among_others() -> None:
    together = ngrams(hash_words(TEXTS), 5)
    for number, text in enumerate(TEXTS):
        alone = ngrams(hash_words([text]), 5)
        assert together.hashes[together.bounds[number] : together.bounds[number + 1]].tolist() == alone.hashes.tolist()


@pytest.mark.parametrize("n", [1, 3, 5, 13])
def test_ngrams_are_equal_where_the_words_are_and_nowhere_else(n: int) -> None:
    rng = np.random.default_rng(n)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 3, size)) for size in (0, 1, 2, 4, 5, 12, 13, 14, 400)]
    grams = ngrams(hash_words(texts), n)
    named: dict[int, tuple[str, ...]] = {}
    for number, text in enumerate(texts):
        split = text.split()
        expected = [tuple(split[i : i + n]) for i in range(max(1, len(split) - n + 1))] if split else []
        values = grams.hashes[grams.bounds[number] : grams.bounds[number + 1]].tolist()
        assert len(values) == len(expected)
        for value, gram in zip(values, expected, strict=True):
            assert named.setdefault(value, gram) == gram
    assert len(named) == len(set(named.values()))


def test_scripts_without_spaces_are_cut_letter_by_letter() -> None:
    chinese, thai = hash_words(["我们的房子，很大。"]), hash_words(["สวัสดี"])
    assert len(chinese.hashes) == 7
    assert len(thai.hashes) == 6
    assert len(hash_words(["안녕하세요 세계"]).hashes) == 2


@pytest.mark.parametrize("letters", [40, 137, 1000])
def test_a_long_text_in_pieces_has_the_ngrams_of_the_whole(letters: int) -> None:
    text = " ".join(f"word{i * i % 97}" for i in range(500))
    pieces = [piece.hashes for piece in ngrams_of_long_text(text, 5, letters)]
    assert len(pieces) > 3
    assert np.concatenate(pieces).tolist() == ngrams(hash_words([text]), 5).hashes.tolist()
    assert [len(p.hashes) for p in ngrams_of_long_text("a b   " + " " * 100, 5, 20)] == [1]


@pytest.mark.parametrize("shared", [150, 200, 222, 240])
def test_candidates_come_as_often_as_the_theory_says(shared: int) -> None:
    pairs, n, bands = 3000, 250, Bands()
    jaccard = shared / (2 * n - shared)
    rng = np.random.default_rng(shared)
    a, b = (rng.integers(0, 2**64, (pairs, n), np.uint64) for _ in range(2))
    b[:, :shared] = a[:, :shared]
    bounds = np.arange(pairs + 1) * n
    first, second = (signatures(Ngrams(x.ravel(), bounds, bounds), bands.bands * bands.rows) for x in (a, b))
    equal = (first == second).mean(axis=1)
    assert equal.mean() == pytest.approx(jaccard, abs=0.004)
    assert equal.std() == pytest.approx((jaccard * (1 - jaccard) / first.shape[1]) ** 0.5, rel=0.1)
    candidates = (band_keys(first, bands.bands) == band_keys(second, bands.bands)).any(axis=1).mean()
    chance = bands.chance(jaccard)
    assert candidates == pytest.approx(chance, abs=4 * (chance * (1 - chance) / pairs) ** 0.5 + 0.002)
