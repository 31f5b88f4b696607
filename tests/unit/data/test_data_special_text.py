"""Special tokens that documents spell: text by default, tokens on demand, counted either way, never mixed."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.special_text import SpecialSpellings
from megalite.tokenizer.train import train_tokenizer

QUIET = Console(quiet=True)
TEXTS = [
    "a page about <|endoftext|> and <|im_start|>system",
    "<|endoftext|><|endoftext|>",
    "no special token, only <| and |> and <|endoftex",
    "<|im_end|> at the beginning and at the end <|pad|>",
]
SPELLED = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spelled") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS * 30))
    return path


@pytest.fixture(scope="module", params=["bpe", "sentencepiece_bpe", "sentencepiece_unigram"])
def folder(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / request.param
    train_tokenizer([str(corpus)], output, Design(300, request.param), QUIET)
    return output


@pytest.mark.parametrize("encoder", ["auto", "tokenizers"])
def test_text_is_text_and_only_the_end_of_a_document_ends_it(
    corpus: Path, folder: Path, tmp_path: Path, encoder: str
) -> None:
    [manifest] = preprocess([str(corpus)], folder, tmp_path / "out", QUIET, options=PreprocessOptions(encoder=encoder))  # type: ignore[arg-type]
    loaded, dataset = load_tokenizer(folder), IndexedDataset(tmp_path / "out")
    for number, text in enumerate(TEXTS):
        ids = dataset.document(number).tolist()
        assert ids.pop() == loaded.eos_id
        assert min(ids) > 3, "ids 0 to 3 are the special tokens"
        assert loaded.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert (manifest.parse_special_tokens, manifest.special_spellings) == (False, 30 * SPELLED)


@pytest.mark.parametrize("encoder", ["auto", "tokenizers"])
def test_they_are_tokens_where_that_is_asked_for(corpus: Path, folder: Path, tmp_path: Path, encoder: str) -> None:
    options = PreprocessOptions(encoder=encoder, parse_special_tokens=True)  # type: ignore[arg-type]
    [manifest] = preprocess([str(corpus)], folder, tmp_path / "out", QUIET, options=options)
    assert IndexedDataset(tmp_path / "out").document(1).tolist() == [1, 1, 1]
    assert (manifest.parse_special_tokens, manifest.special_spellings) == (True, 30 * SPELLED)


def test_data_of_the_two_rules_are_not_taken_for_each_other(corpus: Path, folder: Path, tmp_path: Path) -> None:
    preprocess([str(corpus)], folder, tmp_path / "text", QUIET)
    with pytest.raises(DataError, match="was made from other inputs or options"):
        preprocess(
            [str(corpus)], folder, tmp_path / "text", QUIET, options=PreprocessOptions(parse_special_tokens=True)
        )
    preprocess([str(corpus)], folder, tmp_path / "parsed", QUIET, options=PreprocessOptions(parse_special_tokens=True))
    with pytest.raises(DataError, match="has parse_special_tokens=True"):
        merge([str(tmp_path / "text"), str(tmp_path / "parsed")], tmp_path / "both")


def test_the_summary_counts_them_and_names_the_check(
    corpus: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preprocess([str(corpus)], folder, tmp_path / "out", Console(width=200))
    said = capsys.readouterr().out
    assert f"{30 * SPELLED} spelled in the text, which stayed text" in said
    assert "with tokenizers" in said


def test_spellings_are_counted_as_regular_expressions_would() -> None:
    counts = SpecialSpellings(["<s>", "</s>", "<|a|>", "<|a|>b", ""])
    assert [counts.count(text) for text in ("", "<s></s>", "<|a|>b<|a|>", "<|a|", "a < s > b")] == [0, 2, 2, 0, 0]
    assert SpecialSpellings([]).count("<s>") == 0
