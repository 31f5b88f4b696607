"""What cannot be a vocabulary is refused before any text is read; bytes alone are one."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoTokenizer

from megalite.config.errors import ConfigError
from megalite.data.indexed import IndexedDataset
from megalite.data.preprocess.command import preprocess
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.sample.sampling import Sampling
from megalite.tokenizer.special_tokens import SpecialTokens
from megalite.tokenizer.train import train_tokenizer

QUIET = Console(quiet=True)
TEXT = "bytes alone <|endoftext|> é 😀\n\tdef f(x):  return x"


def named(*others: str) -> SpecialTokens:
    return SpecialTokens(others=others)


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Design(10**9), r"--vocab_size 1,000,000,000: give 1 to 2,097,152 ids"),
        (Design(0), r"--vocab_size 0: give"),
        (Design(300, pad_to_multiple=10**12), r"with --pad_to_multiple 1,000,000,000,000"),
        (Design(400, reserved=10**9), r"--reserved 1,000,000,000.*: give at most 65,536"),
        (Design(271), r"--vocab_size 271: 256 bytes and 16 special tokens already need 272"),
        (Design(272, "sentencepiece_bpe"), "already need 273"),
        (Design(400, special=named(*map(str, range(10**6)))), r"--special_tokens: 1,000,000 tokens; give at most"),
        (Design(400, special=named("")), "must be visible text"),
        (Design(400, special=named(" \t")), "must be visible text"),
        (Design(400, special=named("<a> ")), "begins or ends with a space"),
        (Design(400, special=named("<" + "a" * 300 + ">")), "more than 256 characters"),
        (Design(400, special=named("<a>", "<a>")), "'<a>': is given twice"),
        (Design(400, special=named("<a>", "<a>b")), "'<a>': is part of '<a>b'"),
        (Design(400, special=named("endoftext")), r"'endoftext': is part of '<\|endoftext\|>'"),
    ],
)
def test_a_design_that_cannot_be_is_one_line(design: Design, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        design.check()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_sample_has_bounds() -> None:
    with pytest.raises(ConfigError, match="give at most"):
        Sampling(sample_bytes=10**30).check()


def test_bytes_alone_are_a_vocabulary_everywhere(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    folder = tmp_path / "bytes"
    train_tokenizer([str(tmp_path / "t.jsonl")], folder, Design(272), QUIET)
    report = json.loads((folder / "design_report.json").read_text())
    assert (report["vocab_size"], report["tokens"]) == (272, len(TEXT.encode()))
    assert (report["round_trip_failures"], report["documents_with_special_tokens"]) == (0, 1)
    assert "equal to the trained tokenizer on" in report["tokenizer_check"]
    ids = [16 + byte for byte in TEXT.encode()]
    assert load_tokenizer(folder).tokenizer.encode(TEXT).ids == ids
    auto = AutoTokenizer.from_pretrained(folder)
    assert auto(TEXT, split_special_tokens=True)["input_ids"] == ids
    assert auto.decode(ids) == TEXT
    preprocess([str(tmp_path / "t.jsonl")], folder, tmp_path / "out", QUIET)
    assert IndexedDataset(tmp_path / "out").document(0).tolist() == [*ids, 1]
