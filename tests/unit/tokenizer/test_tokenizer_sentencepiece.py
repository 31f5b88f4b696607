"""Our ``tokenizer.json`` against sentencepiece's own processor on the ``tokenizer.model`` beside it."""

import json
import random
from pathlib import Path

import pytest
import sentencepiece
from rich.console import Console
from transformers import AutoTokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.tokenizer.learn.design import ALGORITHMS, Algorithm, Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.train import train_tokenizer

QUIET = Console(quiet=True)
HARD = [
    "",
    " ",
    "  two  spaces ",
    "\n\n\ttab\r\n",
    "a<0x0A>b <0x41> <0xe4> (<0xFF><0x00>",
    "a\0b",
    "e\u0301 🦊👩‍👩‍👧 \u3000\u00a0\u0085",
    "12345 <|im_start|>user\n",
    "x" * 3000,
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.jsonl"
    with path.open("w") as file:
        for document in installed_documents(150_000):
            file.write(json.dumps({"text": document.text + " äöü 日本語"}) + "\n")
        file.write(json.dumps({"text": "a\0b " * 10}) + "\n")
    return path


@pytest.fixture(scope="module", params=ALGORITHMS[1:])
def folder(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    algorithm: Algorithm = request.param
    output = tmp_path_factory.mktemp("trained") / algorithm
    train_tokenizer([str(corpus)], output, Design(1000, algorithm, pad_to_multiple=64), QUIET)
    return output


def processor(folder: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_ids_equal_sentencepiece_and_every_text_round_trips(folder: Path) -> None:
    own, theirs = load_tokenizer(folder).tokenizer, processor(folder)
    for text in HARD + [document.text for document in installed_documents(300_000)]:
        ids = own.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text), text[:80]
        assert own.decode(ids, skip_special_tokens=False) == text


def test_near_ties_late_in_a_long_text_are_decided_alike(folder: Path) -> None:
    own, theirs = load_tokenizer(folder).tokenizer, processor(folder)
    whole = "\n".join(document.text for document in installed_documents(400_000))
    for start in range(0, 300_000, 60_000):
        text = whole[start : start + 60_000]
        assert own.encode(text, add_special_tokens=False).ids == theirs.encode(text)


def test_ids_equal_sentencepiece_on_novels_and_113_languages(folder: Path, shared_data: Path) -> None:
    own, theirs = load_tokenizer(folder).tokenizer, processor(folder)
    documents = list(read_documents(expand_inputs([f"{shared_data}/multilingual/*.zst"])))
    for document in random.Random(0).sample(documents, 1200):
        assert own.encode(document.text, add_special_tokens=False).ids == theirs.encode(document.text), document.line


def test_the_only_loss_is_the_sign_that_stands_for_a_space(folder: Path) -> None:
    own = load_tokenizer(folder).tokenizer
    assert (
        own.decode(own.encode("a\u2581b").ids)
        == "a b"
        == processor(folder).decode(processor(folder).encode("a\u2581b"))
    )


def test_auto_tokenizer_loads_it_with_its_roles(folder: Path) -> None:
    auto, theirs = AutoTokenizer.from_pretrained(folder), processor(folder)
    assert (auto.pad_token_id, auto.eos_token_id, auto.bos_token_id, auto.unk_token_id) == (0, 1, 1, 2)
    assert (theirs.pad_id(), theirs.eos_id(), theirs.unk_id()) == (0, 1, 2)
    assert len(auto) == theirs.get_piece_size() == 1024
    assert auto.convert_ids_to_tokens(list(range(1024))) == [theirs.id_to_piece(number) for number in range(1024)]
    assert auto("Hello  world")["input_ids"] == theirs.encode("Hello  world")
    assert auto.turn_start == "<|im_start|>"


def test_training_again_gives_the_same_files(corpus: Path, folder: Path, tmp_path: Path) -> None:
    algorithm: Algorithm = json.loads((folder / "design_report.json").read_text())["model"]
    train_tokenizer([str(corpus)], tmp_path / "again", Design(1000, algorithm, pad_to_multiple=64), QUIET)
    for name in ("tokenizer.json", "tokenizer.model"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_what_sentencepiece_cannot_do_is_one_line(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--digits triple: not supported by sentencepiece"):
        Design(1000, "sentencepiece_bpe", "triple").check()
    with pytest.raises(ConfigError, match="--trainer rustbpe: only for byte-level BPE"):
        Design(1000, "sentencepiece_bpe", trainer="rustbpe").check()
    few = tmp_path / "few.txt"
    few.write_text("a b c hello")
    for algorithm in ALGORITHMS[1:]:
        with pytest.raises(
            DataError, match=r"sentencepiece, --vocab_size 9000: .*; use more text or a smaller vocabulary"
        ):
            train_tokenizer([str(few)], tmp_path / "x", Design(9000, algorithm), QUIET)
    assert not list(tmp_path.glob("x*"))
