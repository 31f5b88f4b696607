"""A bare ``tokenizer.model`` gives the ids of sentencepiece itself, in data, in an export, whatever its options are."""

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from rich.console import Console
from transformers import AutoTokenizer

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.tokenizer.export import check_exported, export_tokenizer
from megalite.tokenizer.formats.sentencepiece_tokenizer import SentencePieceTokenizer
from megalite.tokenizer.hard_texts import HARD_TEXTS
from megalite.tokenizer.load import load_tokenizer

IDENTITY: dict[str, Any] = {"normalization_rule_name": "identity"}
KEPT: dict[str, Any] = IDENTITY | {"remove_extra_whitespaces": False}
CONVERTED: dict[str, dict[str, Any]] = {
    "bpe like llama": {"model_type": "bpe", "byte_fallback": True, **KEPT, "split_digits": True},
    "bpe like gemma": {"model_type": "bpe", "add_dummy_prefix": False, "user_defined_symbols": ["<b>", "▁▁"], **KEPT},
    "bpe without bytes": {"model_type": "bpe", **IDENTITY, "control_symbols": ["[INST]"]},
    "bpe with runs of spaces": {
        "model_type": "bpe",
        **KEPT,
        "allow_whitespace_only_pieces": True,
        "byte_fallback": True,
    },
}
LEFT: dict[str, dict[str, Any]] = {
    "unigram, the defaults": {"model_type": "unigram"},
    "unigram with bytes": {"model_type": "unigram", "byte_fallback": True, **KEPT},
    "bpe, nfkc": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "nfkc_cf"},
    "space behind": {"model_type": "bpe", "treat_whitespace_as_suffix": True, **IDENTITY},
    "symbols and a prefix": {"model_type": "bpe", "user_defined_symbols": ["def"], **IDENTITY},
    "words": {"model_type": "word"},
    "characters": {"model_type": "char"},
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    root = Path(__file__).parents[3]
    return [*(root / "README.md").read_text().split("\n\n"), *(root / "pyproject.toml").read_text().split("\n\n")]


@pytest.fixture(scope="module", params=[*CONVERTED, *LEFT])
def folder(request: pytest.FixtureRequest, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = io.BytesIO()
    options = CONVERTED.get(request.param) or LEFT[request.param]
    lines = [line for text in texts for line in text.split("\n")] + ["a" + " " * length + "b" for length in range(20)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=content, vocab_size=600, hard_vocab_limit=False, minloglevel=2, **options
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model")
    (path / "tokenizer.model").write_bytes(content.getvalue())
    (path / "kind").write_text(request.param)
    return path


def ids_of(folder: Path, texts: list[str]) -> list[list[int]]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    return [processor.encode(text) for text in texts]


def test_the_ids_are_sentencepieces_own(folder: Path, texts: list[str]) -> None:
    loaded = load_tokenizer(folder)
    sample = [*texts, *HARD_TEXTS, *("  ".join(texts[n : n + 3]) for n in range(0, len(texts), 3))]
    got = [loaded.tokenizer.encode(text, add_special_tokens=False).ids for text in sample]
    assert got == ids_of(folder, sample)
    is_converted = (folder / "kind").read_text() in CONVERTED
    assert isinstance(loaded.tokenizer, SentencePieceTokenizer) == (not is_converted)
    assert ("converted, equal to sentencepiece on" if is_converted else "sentencepiece itself") in loaded.check
    assert (loaded.bos_id, loaded.eos_id) == (1, 2)


def test_the_data_and_the_export_have_them_too(folder: Path, texts: list[str], tmp_path: Path) -> None:
    documents = [text for text in [*texts, *HARD_TEXTS] if text.strip()]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    [manifest] = preprocess(
        [str(tmp_path / "t.jsonl")],
        folder,
        tmp_path / "out",
        Console(quiet=True),
        options=PreprocessOptions(append_eod=False),
    )
    expected = [ids for ids in ids_of(folder, documents) if ids]
    dataset = IndexedDataset(tmp_path / "out")
    assert [dataset.document(number).tolist() for number in range(dataset.num_documents)] == expected
    assert "sentencepiece" in (manifest.tokenizer_check or "")

    (tmp_path / "hf").mkdir()
    loaded, written = export_tokenizer(folder, tmp_path / "hf")
    (tmp_path / "hf" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert {path.name for path in written} >= {"tokenizer.model", "tokenizer_config.json"}
    check_exported(tmp_path / "hf")
    auto = AutoTokenizer.from_pretrained(tmp_path / "hf")
    theirs = [auto(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in documents]
    assert theirs == ids_of(folder, documents)
    assert (auto.bos_token_id, auto.eos_token_id) == (1, 2)
    assert load_tokenizer(tmp_path / "hf").fingerprint == loaded.fingerprint == manifest.tokenizer_fingerprint


def test_a_conversion_that_fails_on_the_input_is_refused(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merges in another order, and a proof that looks at nothing: the texts of the input find it out."""
    from megalite.tokenizer.formats import sentencepiece_model, sentencepiece_tokenizer

    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=content, vocab_size=500, model_type="bpe", minloglevel=2, **KEPT
    )
    (tmp_path / "tokenizer.model").write_bytes(content.getvalue())
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    monkeypatch.setattr(sentencepiece_model, "sorted", lambda found: sorted(found, reverse=True), raising=False)
    assert "the conversion differs on" in load_tokenizer(tmp_path).check, "the proof finds it out first"
    sentencepiece_tokenizer._open.cache_clear()
    monkeypatch.setattr(sentencepiece_tokenizer, "HARD_TEXTS", ())
    monkeypatch.setattr(sentencepiece_tokenizer, "texts_of_pieces", lambda _: [])
    with pytest.raises(DataError, match="converted from sentencepiece it gives other ids for"):
        preprocess([str(tmp_path / "t.jsonl")], tmp_path, tmp_path / "out", Console(quiet=True))
    sentencepiece_tokenizer._open.cache_clear()


def test_a_symbol_called_special_is_not_found_in_text(texts: list[str], tmp_path: Path) -> None:
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=content, vocab_size=400, model_type="bpe", minloglevel=2,
        user_defined_symbols=["<|im_start|>", "def"], **KEPT,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(content.getvalue())
    text = "<|im_start|>user def"
    symbols = {load_tokenizer(tmp_path).tokenizer.token_to_id(name) for name in ("<|im_start|>", "def")}
    assert symbols <= set(load_tokenizer(tmp_path).tokenizer.encode(text).ids)
    config = {"additional_special_tokens": ["<|im_start|>"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load_tokenizer(tmp_path).tokenizer
    assert {loaded.token_to_id("def")} == symbols & set(loaded.encode(text).ids)
    assert symbols <= set(load_tokenizer(tmp_path, parse_special_tokens=True).tokenizer.encode(text).ids)


def test_mistrals_model_gives_its_own_ids_on_many_kinds_of_text(shared_data: Path) -> None:
    folder = shared_data / "tokenizers" / "mistral-v1"
    loaded = load_tokenizer(folder)
    assert "converted" in loaded.check
    for pattern in ("multilingual/tatoeba*", "corpus/peps_en*", "messy/email*", "corpus/novels_en*"):
        documents = [document.text[:3000] for document in read_documents(expand_inputs([f"{shared_data}/{pattern}"]))]
        sample = random.Random(0).sample(documents, 60)
        assert [loaded.tokenizer.encode(text, add_special_tokens=False).ids for text in sample] == ids_of(
            folder, sample
        )
    assert (
        loaded.tokenizer.decode(loaded.tokenizer.encode("prices.  With it", add_special_tokens=False).ids)
        == "prices.  With it"
    )


def test_pieces_of_the_same_score_are_merged_from_the_left(texts: list[str], tmp_path: Path) -> None:
    """As in llama's and mistral's models, where runs of spaces have the score -1e9."""
    from megalite.tokenizer.formats.sentencepiece_model import NORMAL, SPACE, parse_model

    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=content, vocab_size=400, model_type="bpe", minloglevel=2, **KEPT
    )
    proto = parse_model(content.getvalue(), "m")
    for piece in [*proto.pieces]:
        if piece.piece.strip(SPACE) == "":
            piece.score = -1e9
    known = {piece.piece for piece in proto.pieces}
    for length in (2, 4, 8, 5, 3, 16, 6, 7):
        if SPACE * length not in known:
            proto.pieces.add(piece=SPACE * length, score=-1e9, type=NORMAL)
    (tmp_path / "tokenizer.model").write_bytes(proto.SerializeToString())
    loaded = load_tokenizer(tmp_path)
    assert "converted, equal" in loaded.check
    runs = [f"prices.{' ' * length}With it" for length in range(40)]
    assert [loaded.tokenizer.encode(text, add_special_tokens=False).ids for text in runs] == ids_of(tmp_path, runs)
