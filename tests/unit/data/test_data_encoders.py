"""Fast encoders give the ids of tokenizers, or are found out: before the work, or in the middle of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from megalite.config.errors import DataError
from megalite.data.preprocess import encoders
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.encoder_check import EncoderMismatchError, choose_encoder, differing_text
from megalite.data.preprocess.encoders import Encoded, TokenizersEncoder, open_encoder
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.data.preprocess.unit import is_encoded
from megalite.jobs.job import open_job
from megalite.tokenizer.hard_texts import HARD_TEXTS
from megalite.tokenizer.load import load_tokenizer

QUIET = Console(quiet=True)
FAST = ["gigatoken", "fastokens"]


@pytest.fixture(scope="module")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte-level BPE with GPT-2's split pattern, trained on the nasty texts and on English."""
    folder = tmp_path_factory.mktemp("byte_tokenizer")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>", "<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    english = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()
    tokenizer.train_from_iterator([english, *HARD_TEXTS], trainer)
    tokenizer.add_special_tokens([AddedToken("<|pad|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return folder


@pytest.fixture
def english(tmp_path: Path) -> Path:
    """1,500 documents of English, code and what is nasty."""
    lines = (Path(__file__).parents[3] / "README.md").read_text().splitlines() + list(HARD_TEXTS)
    path = tmp_path / "english.jsonl"
    with path.open("w") as file:
        for number in range(1500):
            text = "\n".join(lines[(number * step) % len(lines)] for step in (7, 11, 13)[: number % 4])
            file.write(json.dumps({"text": text, "summary": text[:30] if number % 5 else ""}) + "\n")
    return path


def outputs(prefix: Path) -> tuple[bytes, bytes]:
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()


@pytest.mark.parametrize("name", FAST)
def test_a_fast_encoder_gives_the_ids_of_tokenizers(byte_tokenizer: Path, name: str) -> None:
    pytest.importorskip(name)
    tokenizer = load_tokenizer(byte_tokenizer).tokenizer
    texts = [*HARD_TEXTS, *(f"a{text}b{text}" for text in HARD_TEXTS), "", ""]
    fast = open_encoder(name, tokenizer).encode(texts)  # type: ignore[arg-type]
    rows = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert fast.lengths.tolist() == [len(row) for row in rows]
    assert fast.ids.tolist() == [number for row in rows for number in row]
    nothing = open_encoder(name, tokenizer).encode([])  # type: ignore[arg-type]
    assert len(nothing.ids) == len(nothing.lengths) == 0
    blank = open_encoder(name, tokenizer).encode([""])  # type: ignore[arg-type]
    assert blank.ids.tolist() == []
    assert blank.lengths.tolist() == [0]


@pytest.mark.parametrize("name", ["tokenizers", *FAST])
def test_special_tokens_in_text_are_text_unless_parsed(byte_tokenizer: Path, name: str) -> None:
    if name != "tokenizers":
        pytest.importorskip(name)
    text = "x<|endoftext|>y<|pad|>"
    plain = load_tokenizer(byte_tokenizer).tokenizer
    ids = open_encoder(name, plain).encode([text]).ids.tolist()  # type: ignore[arg-type]
    assert not {plain.token_to_id(token) for token in ("<|endoftext|>", "<|im_start|>", "<|pad|>")} & set(ids)
    assert plain.decode(ids, skip_special_tokens=False) == text
    parsed = load_tokenizer(byte_tokenizer, parse_special_tokens=True).tokenizer
    ids = open_encoder(name, parsed).encode([text]).ids.tolist()  # type: ignore[arg-type]
    assert ids.count(parsed.token_to_id("<|endoftext|>")) == 1
    assert ids[-1] == parsed.token_to_id("<|pad|>")


@pytest.mark.parametrize("name", FAST)
def test_the_files_are_the_same_bytes_whichever_encoder(
    byte_tokenizer: Path, english: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip(name)
    preprocess(
        [str(english)], byte_tokenizer, tmp_path / "slow", QUIET, options=PreprocessOptions(encoder="tokenizers")
    )
    preprocess([str(english)], byte_tokenizer, tmp_path / "fast", QUIET, options=PreprocessOptions(encoder=name))  # type: ignore[arg-type]
    assert outputs(tmp_path / "fast") == outputs(tmp_path / "slow")


def test_a_refused_tokenizer_goes_to_the_next_encoder(word_tokenizer: Path) -> None:
    pytest.importorskip("gigatoken")
    tokenizer = load_tokenizer(word_tokenizer).tokenizer
    encoder, reasons = choose_encoder("auto", tokenizer, ["the cat"])
    assert encoder.name == "tokenizers"
    assert reasons[0].startswith("gigatoken: does not support this tokenizer (")
    with pytest.raises(DataError, match=r"--encoder gigatoken: does not support this tokenizer .*; use --encoder auto"):
        choose_encoder("gigatoken", tokenizer, ["the cat"])


class Liar(TokenizersEncoder):
    """Wrong for every text with a q in it that is no nasty one."""

    name = "gigatoken"

    def encode(self, texts: Sequence[str]) -> Encoded:
        encoded = super().encode(texts)
        ids, ends = encoded.ids.copy(), np.cumsum(encoded.lengths)
        for number, text in enumerate(texts):
            if "q" in text and text not in HARD_TEXTS:
                ids[ends[number] - 1] ^= 1
        return Encoded(ids, encoded.lengths)


def test_an_inexact_encoder_is_refused_before_the_work(byte_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.ENCODERS, "gigatoken", Liar)
    tokenizer = load_tokenizer(byte_tokenizer).tokenizer
    assert choose_encoder("gigatoken", tokenizer, ["harmless"])[0].name == "gigatoken"
    with pytest.raises(DataError, match="gives other ids than tokenizers, for example for 'quite'"):
        choose_encoder("gigatoken", tokenizer, ["harmless", "quite"])
    encoder, reasons = choose_encoder("auto", tokenizer, ["harmless", "quite"])
    assert encoder.name != "gigatoken"
    assert reasons[0].startswith("gigatoken: gives other ids")


@pytest.mark.parametrize("length", [5, 5000])
def test_a_difference_is_found_in_short_and_long_documents(byte_tokenizer: Path, length: int) -> None:
    tokenizer = load_tokenizer(byte_tokenizer).tokenizer
    reference, liar = TokenizersEncoder(tokenizer), Liar(tokenizer)
    texts = ["q" * length, "x" * length]
    assert differing_text(liar, reference, texts, liar.encode(texts), "seed") == 0
    assert differing_text(reference, reference, texts, reference.encode(texts), "seed") is None
    assert differing_text(reference, reference, [], reference.encode([]), "seed") is None


def test_an_encoder_that_differs_is_not_used_again(
    byte_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 3000)
    monkeypatch.setattr("megalite.data.preprocess.plan.UNITS_WANTED", 10**9)
    corpus = tmp_path / "corpus.jsonl"
    texts = [f"number {number}" for number in range(1000)]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    monkeypatch.setitem(encoders.ENCODERS, "gigatoken", Liar)
    lines = corpus.read_text().splitlines()
    for number in range(400, 800):
        lines[number] = lines[number].replace("number", "qumber")
    corpus.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("megalite.data.preprocess.command.sample_texts", lambda _: [])
    with pytest.raises(EncoderMismatchError, match=r"corpus\.jsonl:[4-8]\d\d: gigatoken gives other ids") as caught:
        preprocess(
            [str(corpus)], byte_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(encoder="gigatoken")
        )
    assert "\n" not in str(caught.value)
    assert "qumber" in lines[int(str(caught.value).split(":")[1]) - 1]
    work = open_job(Path(f"{tmp_path / 'out'}.partial"), 0)
    assert all(not is_encoded(work.plan, work.folder / "tokens", unit) for unit in range(len(work.plan.units)))
    assert not list(tmp_path.glob("out.[!p]*"))
    preprocess([str(corpus)], byte_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(encoder="tokenizers"))
    preprocess(
        [str(corpus)], byte_tokenizer, tmp_path / "again", QUIET, options=PreprocessOptions(encoder="tokenizers")
    )
    assert outputs(tmp_path / "out") == outputs(tmp_path / "again")


def test_a_run_resumes_with_another_encoder_to_equal_bytes(
    byte_tokenizer: Path, english: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gigatoken")
    import megalite.data.preprocess.job as module

    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 20_000)
    monkeypatch.setattr("megalite.data.preprocess.plan.UNITS_WANTED", 10**9)
    preprocess(
        [str(english)], byte_tokenizer, tmp_path / "straight", QUIET, options=PreprocessOptions(encoder="tokenizers")
    )
    inner, used = module.encode_unit, []

    def stopped_at_the_third(plan: object, number: int, *rest: object) -> object:
        if number == 2 and "tokenizers" not in used:
            raise KeyboardInterrupt
        used.append(rest[1].name)  # type: ignore[attr-defined]
        return inner(plan, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "encode_unit", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        preprocess(
            [str(english)], byte_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(encoder="gigatoken")
        )
    monkeypatch.setattr(module, "encode_unit", lambda *given: used.append(given[3].name) or inner(*given))
    preprocess([str(english)], byte_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(encoder="tokenizers"))
    assert used[:2] == ["gigatoken", "gigatoken"]
    assert set(used[2:]) == {"tokenizers"}
    assert outputs(tmp_path / "out") == outputs(tmp_path / "straight")
