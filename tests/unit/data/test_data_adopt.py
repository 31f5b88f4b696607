"""Datasets that megatron-core's own builder has made: adopted, trained on, merged, traced; and what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tokenizers import Tokenizer

from megalite.config.errors import DataError
from megalite.config.load import validate
from megalite.config.schema import RunConfig
from megalite.data import adopt as adopt_module
from megalite.data.adopt import adopt, main
from megalite.data.indexed import IndexedDataset
from megalite.data.inspect import command as inspect_data
from megalite.data.manifest import load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.training_data import open_training_data
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer

torch = pytest.importorskip("torch")
megatron = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="pip install megatron-core==0.16.1")
QUIET = Console(quiet=True)
DTYPES = [np.uint16, np.int32, np.int64]
TEXTS = [["the cat sat", "on a mat"], ["then it ran off"], [], ["a red box", "by that old door", "was in"]]


def by_megatron(
    prefix: Path, documents: list[list[list[int]]], dtype: type[np.generic] = np.int32, multimodal: bool = False
) -> str:
    """Documents of sequences of ids."""
    builder = megatron.IndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype, multimodal=multimodal)
    for sequences in documents:
        flat = torch.tensor([token for ids in sequences for token in ids], dtype=torch.int64)
        lengths = [len(ids) for ids in sequences]
        builder.add_document(flat, lengths, [1] * len(lengths) if multimodal else None)
    builder.finalize(f"{prefix}.idx")
    return str(prefix)


@pytest.fixture
def tokenizer(word_tokenizer: Path) -> LoadedTokenizer:
    return load_tokenizer(word_tokenizer)


def encoded(tokenizer: LoadedTokenizer, repeats: int = 1) -> list[list[list[int]]]:
    """``TEXTS`` as Megatron's script has them: the end-of-document token behind the last sequence."""
    documents = [[tokenizer.tokenizer.encode(text).ids for text in texts] for texts in TEXTS]
    for sequences in filter(None, documents):
        sequences[-1].append(tokenizer.eos_id)
    return documents * repeats


@pytest.mark.parametrize("dtype", DTYPES)
def test_megatrons_files_are_adopted_as_they_are(tmp_path: Path, tokenizer: LoadedTokenizer, dtype: Any) -> None:
    documents = encoded(tokenizer, 3)
    prefix = by_megatron(tmp_path / "theirs", documents, dtype)
    before = [Path(f"{prefix}{suffix}").read_bytes() for suffix in (".bin", ".idx")]
    manifest = adopt(prefix, tokenizer, tokenizer.eos_id, QUIET)
    assert [Path(f"{prefix}{suffix}").read_bytes() for suffix in (".bin", ".idx")] == before
    assert verify_manifest(prefix) == manifest == load_manifest(prefix)
    assert (manifest.documents, manifest.sequences, manifest.dtype) == (12, 18, np.dtype(dtype).name)
    assert manifest.tokens == sum(len(ids) for sequences in documents for ids in sequences)
    assert manifest.text_bytes == 3 * sum(len(text.encode()) for texts in TEXTS for text in texts)
    with pytest.raises(DataError, match="exists; the dataset needs no adoption"):
        adopt(prefix, tokenizer, tokenizer.eos_id, QUIET)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_adopted_dataset_is_trained_on_merged_and_traced(
    tmp_path: Path,
    word_tokenizer: Path,
    tokenizer: LoadedTokenizer,
    dtype: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prefix = by_megatron(tmp_path / "theirs", encoded(tokenizer, 40), dtype)
    monkeypatch.setattr(sys, "argv", ["adopt", prefix, "--tokenizer", str(word_tokenizer)])
    main()
    assert "bytes of text each, counted" in capsys.readouterr().out
    values = {
        "run": {"name": "x"},
        "model": {
            "vocab_size": tokenizer.vocab_size,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        "data": {"train": prefix, "valid": prefix, "tokenizer": str(word_tokenizer), "sequence_length": 16},
        "batch": {"micro_batch_size": 2, "global_batch_size": 8},
        "optimizer": {"lr": 1e-3},
        "training": {"steps": 4},
    }
    data = open_training_data(validate(RunConfig, values, "my.yaml"), QUIET, verified=tmp_path / "record.json")
    reader = megatron.IndexedDataset(prefix)  # its arrays are views of a map that closes with it
    theirs = np.concatenate([reader[number].copy() for number in range(len(reader))])
    plain = GPTDataset(prefix, len(theirs), 1)
    assert sorted(plain[0][1:].tolist()) == sorted(theirs.tolist())
    assert data.valid is not None
    assert data.valid.bytes_per_token == load_manifest(prefix).text_bytes / len(theirs)
    merge([prefix, prefix], tmp_path / "both")
    assert IndexedDataset(tmp_path / "both").read(0, 2 * len(theirs)).tolist() == [*theirs, *theirs]
    monkeypatch.setattr(sys, "argv", ["inspect", str(tmp_path / "both"), "--document", "161"])
    inspect_data.main()
    assert "not traced" in (shown := capsys.readouterr().out)
    assert "document 161 was adopted from another program's files" in shown


def test_the_trace_tells_adopted_from_preprocessed_data(
    tmp_path: Path, word_tokenizer: Path, tokenizer: LoadedTokenizer
) -> None:
    theirs = by_megatron(tmp_path / "theirs", [[[1, 2, 3, tokenizer.eos_id or 0]]] * 5, np.uint16)
    adopt(theirs, tokenizer, tokenizer.eos_id, QUIET)
    (tmp_path / "a.jsonl").write_text('{"text": "the cat sat"}\n')
    preprocess([str(tmp_path / "a.jsonl")], word_tokenizer, tmp_path / "ours", QUIET)
    for order in ([theirs, str(tmp_path / "ours")], [str(tmp_path / "ours"), theirs]):
        merged = tmp_path / f"merged-{Path(order[0]).name}"
        assert merge(order, merged).documents == 6
        from megalite.data.inspect.trace import UntraceableError, trace_documents

        own = 5 if order[0] == theirs else 0
        assert trace_documents(IndexedDataset(merged), [own], tokenizer)[own].text == "the cat sat"
        with pytest.raises(UntraceableError, match="adopted"):
            trace_documents(IndexedDataset(merged), [5 - own], tokenizer)


def test_large_files_are_checked_in_every_place(
    tmp_path: Path, tokenizer: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("DOCUMENTS_AT_ONCE", 7), ("TOKENS_AT_ONCE", 5), ("DECODED_AT_ONCE", 4)):
        monkeypatch.setattr(adopt_module, name, size)
    for name, size in (("CHECKED_WHOLE", 9), ("CHECKED_PLACES", 2)):
        monkeypatch.setattr(f"megalite.data.index_file.{name}", size)
    documents = encoded(tokenizer, 20)
    prefix = by_megatron(tmp_path / "x", documents)
    manifest = adopt(prefix, tokenizer, tokenizer.eos_id, QUIET)
    assert manifest.tokens == sum(len(ids) for sequences in documents for ids in sequences)
    content = np.fromfile(f"{prefix}.bin", dtype=np.int32)
    ends = np.cumsum([sum(map(len, sequences)) for sequences in documents])
    for place in range(0, len(content), 3):
        Path(f"{prefix}.manifest.json").unlink(missing_ok=True)
        for value, message in ((tokenizer.vocab_size, f"token {place}, in document "), (-1, "is -1")):
            changed = content.copy()
            changed[place] = value
            changed.tofile(f"{prefix}.bin")
            with pytest.raises(DataError, match=message):
                adopt(prefix, tokenizer, tokenizer.eos_id, QUIET)
    for number, sequences in enumerate(documents):
        if sequences:
            changed = content.copy()
            changed[ends[number] - 1] = 1
            changed.tofile(f"{prefix}.bin")
            with pytest.raises(DataError, match=f"document {number} ends with id 1, .*--no_eod"):
                adopt(prefix, tokenizer, tokenizer.eos_id, QUIET)
    content.tofile(f"{prefix}.bin")
    index = bytearray(Path(f"{prefix}.idx").read_bytes())
    for place in range(34, 34 + 12 * 120, 97):  # lengths and offsets
        damaged = index.copy()
        damaged[place] ^= 1
        Path(f"{prefix}.idx").write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged|describes"):
            adopt(prefix, tokenizer, tokenizer.eos_id, QUIET)


def test_bytes_of_text_are_measured_on_a_part_that_is_told(
    tmp_path: Path, tokenizer: LoadedTokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = encoded(tokenizer, 100)
    tokens = sum(len(ids) for sequences in documents for ids in sequences)
    prefix = by_megatron(tmp_path / "x", documents)
    measured = adopt(prefix, tokenizer, tokenizer.eos_id, Console(soft_wrap=True), decoded_tokens=tokens // 3)
    exact = 100 * sum(len(text.encode()) for texts in TEXTS for text in texts)
    assert measured.text_bytes == pytest.approx(exact, rel=0.1)
    assert f"of its {tokens:,} tokens" not in capsys.readouterr().out  # no false claim
    Path(f"{prefix}.manifest.json").unlink()
    adopt(prefix, tokenizer, tokenizer.eos_id, Console(soft_wrap=True), decoded_tokens=tokens // 3)
    assert "measured on " in capsys.readouterr().out


def test_another_tokenizer_of_the_same_size_is_warned_of(
    tmp_path: Path, word_tokenizer: Path, tokenizer: LoadedTokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = by_megatron(tmp_path / "x", encoded(tokenizer, 5))
    folder = tmp_path / "other"
    folder.mkdir()
    values = json.loads((word_tokenizer / "tokenizer.json").read_text())
    values["pre_tokenizer"] = {"type": "CharDelimiterSplit", "delimiter": "#"}
    (folder / "tokenizer.json").write_text(json.dumps(values))
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() == tokenizer.vocab_size
    other = load_tokenizer(folder, "<|endoftext|>", parse_special_tokens=True)
    adopt(prefix, other, other.eos_id, Console(soft_wrap=True))
    assert "was the dataset created with this tokenizer?" in capsys.readouterr().out


def test_what_cannot_be_adopted_is_refused_by_name(
    tmp_path: Path, word_tokenizer: Path, tokenizer: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    multimodal = by_megatron(tmp_path / "m", encoded(tokenizer), multimodal=True)
    with pytest.raises(DataError, match=r"is multimodal, .*only text datasets are supported"):
        adopt(multimodal, tokenizer, None, QUIET)
    with pytest.raises(DataError, match="float32 values, not token ids"):
        adopt(by_megatron(tmp_path / "f", encoded(tokenizer), np.float32), tokenizer, None, QUIET)
    with pytest.raises(DataError, match="contains no tokens"):
        adopt(by_megatron(tmp_path / "e", [[], []]), tokenizer, None, QUIET)
    with pytest.raises(FileNotFoundError, match="missing"):
        adopt(str(tmp_path / "none"), tokenizer, None, QUIET)
    prefix = by_megatron(tmp_path / "x", encoded(tokenizer))
    for use in (lambda: merge([prefix], tmp_path / "y"), lambda: load_manifest(prefix)):
        with pytest.raises(FileNotFoundError, match=f"megalite adopt {prefix} --tokenizer DIR"):
            use()
    assert not list(tmp_path.glob("y*"))
    assert adopt(prefix, tokenizer, None, QUIET).eod_id is None
