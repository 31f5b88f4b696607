"""Several keys and sentences: what Megatron-LM's own tool would have written, read by megatron-core and by our dataset."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.data.preprocess.sentences import split_sentences
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.tokenizer.load import load_tokenizer

pytest.importorskip("sentencex")
QUIET = Console(quiet=True)
SENTENCES = ["the cat sat on a mat.", "It ran off!", "see my box?", "By that door it was."]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """600 records; some are empty under one key or under both, some texts have no sentence with a token."""
    path = tmp_path / "records.jsonl"
    with path.open("w") as file:
        for number in range(600):
            text = "  ".join(SENTENCES[(number + place) % 4].capitalize() for place in range(number % 6))
            summary = {0: "", 1: "the box", 2: "  \n ", 3: "my cat. It sat."}[number // 6 % 4]
            file.write(json.dumps({"text": text, "id": number, "summary": summary}) + "\n")
    return path


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 9000)
    monkeypatch.setattr("megalite.data.preprocess.plan.UNITS_WANTED", 10**9)
    monkeypatch.setattr("megalite.files.readers.record_blocks.BLOCK", 2000)


def outputs(prefix: Path) -> tuple[bytes, bytes]:
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()


def megatron_files(
    records: Path, folder: Path, target: Path, key: str, level: str, keep: set[int]
) -> tuple[bytes, bytes]:
    """The same by megatron-core's builder, one document at a time."""
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    import torch

    loaded = load_tokenizer(folder)
    builder = indexed.IndexedDatasetBuilder(f"{target}.bin", dtype=np.uint16)
    for line in records.read_text().splitlines():
        record = json.loads(line)
        if record["id"] not in keep:
            continue
        parts = split_sentences(record[key], "en") if level == "sentence" else [record[key]]
        rows = [row for part in parts if (row := loaded.tokenizer.encode(part).ids)]
        if rows:
            rows[-1] = [*rows[-1], loaded.eos_id]
        builder.add_document(
            torch.tensor([number for row in rows for number in row], dtype=torch.int64), [len(row) for row in rows]
        )
    builder.finalize(f"{target}.idx")
    return outputs(target)


@pytest.mark.parametrize("level", ["document", "sentence"])
@pytest.mark.parametrize("workers", [1, 2])
def test_each_of_several_keys_is_the_file_that_megatron_builds(
    records: Path, word_tokenizer: Path, tmp_path: Path, level: str, workers: int, small_units: None
) -> None:
    options = PreprocessOptions(keys=["text", "summary"], level=level)  # type: ignore[arg-type]
    manifests = preprocess([str(records)], word_tokenizer, tmp_path / "out", QUIET, workers, options)
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    kept = {row["id"] for row in rows if row["text"].strip() or row["summary"].strip()}
    assert len(kept) < 600
    for key, manifest in zip(("text", "summary"), manifests, strict=True):
        prefix = tmp_path / f"out_{key}_{level}"
        assert verify_manifest(prefix) == manifest
        assert (manifest.text_key, manifest.level, manifest.documents) == (key, level, len(kept))
        assert manifest.documents + manifest.empty == 600
        expected = megatron_files(records, word_tokenizer, tmp_path / f"theirs_{key}", key, level, kept)
        assert outputs(prefix) == expected
    assert sorted(path.name for path in tmp_path.glob("out*")) == sorted(
        f"out_{key}_{level}.{suffix}" for key in ("text", "summary") for suffix in ("bin", "idx", "manifest.json")
    )


def test_megatron_core_reads_our_sentences_and_documents(records: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    manifest = preprocess(
        [str(records)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(level="sentence")
    )[0]
    theirs, ours = indexed.IndexedDataset(str(tmp_path / "out")), IndexedDataset(tmp_path / "out")
    assert manifest.level == "sentence"
    assert manifest.sequences == len(theirs.sequence_lengths) == len(ours) > manifest.documents
    assert len(theirs.document_indices) - 1 == manifest.documents == ours.num_documents
    for number in range(ours.num_documents):
        first, after = theirs.document_indices[number : number + 2]
        assert (
            np.concatenate([theirs[place] for place in range(first, after)]).tolist() == ours.document(number).tolist()
        )


def test_sentence_data_give_the_samples_of_their_documents(records: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    preprocess([str(records)], word_tokenizer, tmp_path / "documents", QUIET)
    preprocess(
        [str(records)], word_tokenizer, tmp_path / "sentences", QUIET, options=PreprocessOptions(level="sentence")
    )
    one, other = (GPTDataset(str(tmp_path / name), 32, 5) for name in ("documents", "sentences"))
    assert len(one.source) < len(other.source)
    for sample in (0, 1, 17, 900):  # words alone are tokens here, so the whitespace between sentences has none
        assert one[sample].tolist() == other[sample].tolist()
        assert one.positions(sample).tolist() == other.positions(sample).tolist()


def test_keys_of_parquet_are_columns(records: Path, word_tokenizer: Path, tmp_path: Path, small_units: None) -> None:
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "records.parquet", row_group_size=50)
    keys = ["summary", "text"]
    preprocess([str(records)], word_tokenizer, tmp_path / "lines", QUIET, options=PreprocessOptions(keys=keys))
    preprocess(
        [str(tmp_path / "records.parquet")],
        word_tokenizer,
        tmp_path / "columns",
        QUIET,
        workers=2,
        options=PreprocessOptions(keys=keys),
    )
    for key in keys:
        assert outputs(tmp_path / f"lines_{key}_document") == outputs(tmp_path / f"columns_{key}_document")
    with pytest.raises(DataError, match=r"records\.parquet: no column 'title'; the columns are text, id, summary"):
        preprocess(
            [str(tmp_path / "records.parquet")],
            word_tokenizer,
            tmp_path / "x",
            QUIET,
            options=PreprocessOptions(keys=["title"]),
        )
    assert not list(tmp_path.glob("x*.bin"))


def test_a_record_without_a_key_is_malformed_and_located(records: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    lines = records.read_text().splitlines()
    lines[99] = '{"text": "the cat"}'
    lines[300] = '{"text": "the cat", "summary": 3}'
    records.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"records\.jsonl:100: no key 'summary'"):
        options = PreprocessOptions(keys=["text", "summary"], on_error="fatal")
        preprocess([str(records)], word_tokenizer, tmp_path / "x", QUIET, options=options)
    first, second = preprocess(
        [str(records)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(keys=["text", "summary"])
    )
    assert first.malformed == second.malformed == 2
    assert first.documents + first.empty + first.malformed == 600


def test_a_run_killed_between_two_keys_is_finished_later(
    records: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import megalite.data.preprocess.join as module

    keys, publish = ["text", "summary"], module.publish
    preprocess([str(records)], word_tokenizer, tmp_path / "straight", QUIET, options=PreprocessOptions(keys=keys))

    def killed_at_the_second(prefix: Path, *rest: object) -> object:
        if prefix.name.startswith("out_summary"):
            raise KeyboardInterrupt
        return publish(prefix, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            preprocess([str(records)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(keys=keys))
    with pytest.raises(FileNotFoundError):
        load_manifest(tmp_path / "out_summary_document")
    preprocess([str(records)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(keys=keys))
    for key in keys:
        assert outputs(tmp_path / f"out_{key}_document") == outputs(tmp_path / f"straight_{key}_document")


def test_sentence_files_are_merged_with_their_documents(records: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    lines = records.read_text().splitlines(keepends=True)
    parts = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    parts[0].write_text("".join(lines[:250]))
    parts[1].write_text("".join(lines[250:]))
    for part in parts:
        preprocess(
            [str(part)], word_tokenizer, part.with_suffix(""), QUIET, options=PreprocessOptions(level="sentence")
        )
    preprocess([str(records)], word_tokenizer, tmp_path / "whole", QUIET, options=PreprocessOptions(level="sentence"))
    merge([str(part.with_suffix("")) for part in parts], tmp_path / "merged")
    assert outputs(tmp_path / "merged") == outputs(tmp_path / "whole")
    preprocess([str(parts[0])], word_tokenizer, tmp_path / "documents", QUIET)
    with pytest.raises(DataError, match="has level="):
        merge([str(tmp_path / "a"), str(tmp_path / "documents")], tmp_path / "bad")


def test_keys_and_level_that_cannot_be_had_are_refused(records: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat")
    for inputs, keys, message in (
        ("records.jsonl", ["text", "text"], "give each key once"),
        ("a.txt", ["text", "summary"], r"a\.txt: holds one text, not 2 keys"),
        ("records.jsonl", ["text", "../x"], "would be part of a file name"),
    ):
        with pytest.raises(DataError, match=message):
            preprocess(
                [str(tmp_path / inputs)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(keys=keys)
            )
    assert not list(tmp_path.glob("out*"))


def test_sentences_are_found_in_many_languages() -> None:
    text = 'He met Mr. Smith at 3.14 p.m. on Jan. 5. They left.\n\n "Go!" she said. U.S. Army came. '
    assert split_sentences(text, "en") == [
        "He met Mr. Smith at 3.14 p.m. on Jan. 5.", "They left.", '"Go!" she said.', "U.S. Army came.",
    ]  # fmt: skip
    assert split_sentences("今日は。明日は？", "ja") == ["今日は。", "明日は？"]
    assert split_sentences("  \n ", "en") == []
    assert "".join(split_sentences("ab" * 1_200_000, "en")) == "ab" * 1_200_000
