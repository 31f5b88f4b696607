"""The audit measures what it says: good bands find all, poor bands do not, and it sees a wrong removal."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from megalite.corpus.dedup import audit as dedup_audit
from megalite.corpus.dedup.audit import audit
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.words.word_hashes import hash_words, ngrams

QUIET = Console(quiet=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path / "in.jsonl"
    texts = [" ".join(f"Wort{i}" for i in rng.integers(0, 5000, 120)) for _ in range(250)]
    texts += ["".join(chr(0x4E00 + i) for i in rng.integers(0, 5000, 120)) for _ in range(250)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_the_default_bands_reach_99_percent_in_any_script(source: Path) -> None:
    result = audit([str(source)], Bands(), "text", QUIET)
    assert len(result.pairs) == 500
    assert sum(pair.jaccard >= 0.8 for pair in result.pairs) > 120
    assert result.recall >= 0.99
    assert result.precision == 1.0
    assert not any(pair.found for pair in result.pairs if pair.jaccard < 0.8)


def test_poor_bands_are_seen_to_be_poor(source: Path) -> None:
    bands = Bands(bands=2, rows=10)
    result = audit([str(source)], bands, "text", QUIET)
    near = [pair.jaccard for pair in result.pairs if pair.jaccard >= 0.8]
    assert result.recall < 0.8
    assert result.recall == pytest.approx(sum(map(bands.chance, near)) / len(near), abs=0.1)


def test_a_wrong_comparison_is_seen(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.corpus.dedup.shingle_sets.ShingleSets.jaccard", lambda *_: 1.0)
    assert audit([str(source)], Bands(), "text", QUIET).precision < 0.9


def test_the_audits_words_are_those_that_are_hashed() -> None:
    texts = [
        "ＡＢＣ क्षेत्र में हैं",
        "日本語 text 3 ไทยก็ได้ καὶ",
        "İstanbul'da e\u0301te\u0301_x9",
        "한국어 단어",
        "а́нна 。、！",
    ]
    for text in texts:
        expected = dedup_audit._word().findall(text.lower())
        assert len(hash_words([text]).hashes) == len(expected), text
        assert len(ngrams(hash_words([text]), 2).hashes) == max(1, len(expected) - 1)
