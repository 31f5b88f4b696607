"""All trainers of byte-level BPE against Hugging Face's."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from unicodedata import category

import pytest
from tokenizers import Tokenizer

from megalite.config.errors import ConfigError
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.files.readers.documents import read_documents
from megalite.tokenizer.formats.byte_level import SPLITS, Digits, byte_characters, byte_level_bpe
from megalite.tokenizer.learn import bpe_trainers
from megalite.tokenizer.learn.bpe_trainers import by_tokenizers, derived_merges, train_merges

CASES: list[tuple[str, Digits]] = [
    ("rustbpe", "triple"),
    ("rustbpe", "single"),
    ("rustbpe", "free"),
    ("gigatoken", "free"),
]
HARD = [
    "a\0b <|endoftext|> 1234567 x<|endoftext|>y\r\n\r\n  z",
    "=" * 300 + " " * 301 + "aaa" * 101 + "\n" * 57 + "abab" * 50,
    " ".join(f"a{chr(number)}b {chr(number) * 2}1" for number in range(1, 0x2000, 5) if category(chr(number)) != "Cn"),
    " it's IT'S we'll WE'LL they\u2019re \u017fs'\u017f \u212a'\u212a",
]


def write(path: Path, texts: Iterable[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English and code of the installed packages, and what splits and merges are known to stumble over."""
    texts = [document.text for document in installed_documents(500_000)]
    return write(tmp_path_factory.mktemp("texts") / "sample.jsonl", texts + HARD)


@pytest.mark.parametrize(("trainer", "digits"), CASES)
def test_a_faster_trainer_gives_the_merges_of_tokenizers(sample: Path, trainer: str, digits: Digits) -> None:
    pytest.importorskip(trainer)
    fast, how = train_merges(sample, digits, 2000, trainer)  # type: ignore[arg-type]
    slow, _ = train_merges(sample, digits, 2000, "tokenizers")
    assert how.startswith(f"{trainer}, equal")
    assert fast == slow == by_tokenizers(sample, digits, 2000)[1]
    assert len(fast) == 2000


@pytest.mark.parametrize(("trainer", "digits"), [("rustbpe", "triple"), ("gigatoken", "free")])
def test_the_merges_are_the_same_on_text_of_113_languages(
    shared_data: Path, tmp_path: Path, trainer: str, digits: Digits
) -> None:
    pytest.importorskip(trainer)
    documents = read_documents([shared_data / "multilingual/tatoeba_sentences.jsonl.zst"])
    sample = write(tmp_path / "sample.jsonl", [document.text for document in documents][::12])
    fast, how = train_merges(sample, digits, 2000, trainer)  # type: ignore[arg-type]
    assert how.startswith(f"{trainer}, equal")
    assert fast == by_tokenizers(sample, digits, 2000)[1]


@pytest.mark.parametrize(("trainer", "digits"), [("rustbpe", "triple"), ("gigatoken", "free")])
def test_all_trainers_stop_alike_on_too_few_pairs(tmp_path: Path, trainer: str, digits: Digits) -> None:
    pytest.importorskip(trainer)
    sample = write(tmp_path / "few.jsonl", ["a b c hello hello", "yellow mellow"])
    for asked in (500, 3):
        fast, slow = (train_merges(sample, digits, asked, each)[0] for each in (trainer, "tokenizers"))  # type: ignore[arg-type]
        assert fast == slow
    words = ["".join(random.Random(seed).choices("abcdefghijklmnop", k=6)) for seed in range(600)]
    sample = write(tmp_path / "words.jsonl", [" ".join(words)] * 20)
    every = len(by_tokenizers(sample, digits, 100_000)[0])
    assert every > bpe_trainers.CHECK_MERGES
    assert len(train_merges(sample, digits, every, trainer)[0]) == every  # type: ignore[arg-type]
    assert len(train_merges(sample, digits, every + 1, trainer)[0]) == every  # type: ignore[arg-type]


def test_a_trainer_that_gives_other_tokens_is_not_used(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = by_tokenizers(sample, "triple", 50)[0]
    monkeypatch.setattr(bpe_trainers, "_learn", lambda *_: [real[1], real[0], *real[2:]])
    monkeypatch.setattr(bpe_trainers, "find_spec", lambda _: True)
    merges, how = train_merges(sample, "triple", 50, "rustbpe")
    assert how == "tokenizers, because rustbpe gave other tokens on the first 300,000 bytes"
    assert [left + right for left, right in merges] == real


def test_a_trainer_that_is_not_installed_is_named(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_trainers, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="--trainer rustbpe: not installed"):
        train_merges(sample, "triple", 50, "rustbpe")
    assert train_merges(sample, "triple", 50, "auto")[1] == "tokenizers"


def test_merges_are_derived_from_the_order_of_tokens() -> None:
    assert derived_merges([b"ab", b"abc", b"abcab"]) == [(b"a", b"b"), (b"ab", b"c"), (b"abc", b"ab")]
    assert derived_merges([b"abc"]) is None
    assert derived_merges([b"ab", b"ab"]) is None
    assert derived_merges([b"a"]) is None


def test_the_characters_of_the_bytes_are_those_of_tokenizers() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert set(byte_characters()) == set(ByteLevel.alphabet())
    assert byte_characters()[ord("A")] == "A"
    assert byte_characters()[32] == "\u0120"


@pytest.mark.parametrize("digits", ["triple", "single", "free"])
@pytest.mark.parametrize("encoder", ["gigatoken", "fastokens"])
def test_fast_encoders_take_every_split_and_give_the_same_ids(
    sample: Path, tmp_path: Path, encoder: str, digits: Digits
) -> None:
    module = pytest.importorskip(encoder)
    merges, _ = train_merges(sample, digits, 1000, "tokenizers")
    tokenizer = byte_level_bpe(merges, ["<|pad|>", "<|endoftext|>"], SPLITS[digits])
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    texts = HARD + [document.text[:5000] for document in installed_documents(300_000)]
    assert _encoded(module, file, texts) == [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def _encoded(module: object, file: Path, texts: list[str]) -> list[list[int]]:
    if hasattr(module, "BytesSource"):
        return [list(ids) for ids in module.Tokenizer(str(file)).encode_batch_list(texts)]  # type: ignore[attr-defined]
    encoded = module.Tokenizer.from_file(str(file)).encode_batch(texts, add_special_tokens=False)  # type: ignore[attr-defined]
    return [list(encoding.ids) for encoding in encoded]


@pytest.mark.parametrize(("digits", "parts"), [("single", "1 2 3 4"), ("triple", "123 4"), ("free", "1234")])
def test_the_digits_rule_says_how_far_digits_may_join(tmp_path: Path, digits: Digits, parts: str) -> None:
    sample = write(tmp_path / "digits.jsonl", ["1234"] * 50)
    tokenizer: Tokenizer = byte_level_bpe(train_merges(sample, digits, 20, "auto")[0], [], SPLITS[digits])
    assert " ".join(tokenizer.encode("1234").tokens) == parts
