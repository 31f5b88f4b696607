"""The preprocessing command: same bytes for any worker count, malformed input located, kill -9 survived."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pyarrow
import pytest
import zstandard
from pyarrow import parquet
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.files.readers.documents import read_piece
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.pieces import Piece
from megalite.tokenizer.load import load_tokenizer

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 5000)
    monkeypatch.setattr("megalite.data.preprocess.plan.UNITS_WANTED", 10**9)
    monkeypatch.setattr("megalite.files.readers.record_blocks.BLOCK", 1300)


def outputs(prefix: Path) -> tuple[bytes, bytes]:
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()


def expected_documents(corpus: Path, folder: Path) -> list[list[int]]:
    loaded = load_tokenizer(folder)
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    return [[*loaded.tokenizer.encode(text).ids, loaded.eos_id] for text in texts if text]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_ids_are_the_tokenizers_own_for_any_worker_count(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, workers: int
) -> None:
    prefix = tmp_path / "out"
    [manifest] = preprocess([str(corpus)], word_tokenizer, prefix, QUIET, workers=workers)
    dataset = IndexedDataset(prefix)
    expected = expected_documents(corpus, word_tokenizer)
    assert [dataset.document(i).tolist() for i in range(dataset.num_documents)] == expected
    assert manifest.documents == len(expected)
    assert manifest.tokens == sum(map(len, expected))
    assert manifest.documents + manifest.empty == 2000
    assert manifest.text_bytes == sum(len(json.loads(line)["text"]) for line in corpus.read_text().splitlines())
    assert verify_manifest(prefix) == manifest
    assert not Path(f"{prefix}.partial").exists()


def test_every_kind_of_file_gives_the_same_bytes(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    text = corpus.read_bytes()
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(text))
    rows = [json.loads(line) for line in text.splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "c.parquet", row_group_size=300)
    results = []
    for name in ("corpus.jsonl", "c.jsonl.gz", "c.jsonl.zst", "c.parquet"):
        prefix = tmp_path / f"out-{name}"
        preprocess([str(tmp_path / name)], word_tokenizer, prefix, QUIET)
        results.append(outputs(prefix))
    assert len(set(results)) == 1


def test_the_manifest_maps_documents_to_pieces_of_files(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows[:700]), tmp_path / "c.parquet", row_group_size=100)
    corpus.write_text(corpus.read_text().replace('"id": 900', "broken"))
    for name in ("corpus.jsonl", "c.parquet"):
        preprocess([str(tmp_path / name)], word_tokenizer, tmp_path / f"{name}.ids", QUIET)
    merge([str(tmp_path / "corpus.jsonl.ids"), str(tmp_path / "c.parquet.ids")], tmp_path / "both")
    manifest, dataset = load_manifest(tmp_path / "both"), IndexedDataset(tmp_path / "both")
    loaded = load_tokenizer(word_tokenizer)
    assert {piece.source for piece in manifest.pieces} == {0, 1}
    assert len(manifest.pieces) > 20
    number = 0
    for piece in manifest.pieces:
        path = Path(manifest.sources[piece.source].path)
        part = Piece(path, piece.start, piece.end, piece.size, piece.before)
        kept = [document for document in read_piece(part, "text", "skip", ReadReport()) if document.text]
        assert len(kept) == piece.documents
        for document in kept:
            assert dataset.document(number).tolist() == [*loaded.tokenizer.encode(document.text).ids, loaded.eos_id]
            assert document.meta["id"] == document.line - 1
            number += 1
    assert number == dataset.num_documents == manifest.documents


def test_a_txt_file_is_one_document(word_tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat\n\nsat")
    preprocess(
        [str(tmp_path / "*.txt")], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(append_eod=False)
    )
    assert IndexedDataset(tmp_path / "out").document(0).tolist() == [1, 2, 3]


@pytest.mark.parametrize("text", ["no newline at the end", "a crlf file"])
def test_line_ends_do_not_matter(corpus: Path, word_tokenizer: Path, tmp_path: Path, text: str) -> None:
    content = corpus.read_bytes()
    other = tmp_path / "other.jsonl"
    other.write_bytes(content.rstrip(b"\n") if text.startswith("no") else content.replace(b"\n", b"\r\n"))
    preprocess([str(corpus)], word_tokenizer, tmp_path / "a", QUIET)
    preprocess([str(other)], word_tokenizer, tmp_path / "b", QUIET)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


BAD = [b"{broken", b'["list"]', b'{"body": "the"}', b'{"text": 3}', b'{"text": "\xff"}']


def with_bad_lines(corpus: Path) -> list[int]:
    """Put malformed lines in; returns their line numbers."""
    lines = corpus.read_bytes().splitlines()
    places = [1, 700, 1200, 1999, 2004]
    for place, bad in zip(places, BAD, strict=True):
        lines.insert(place - 1, bad)
    corpus.write_bytes(b"\n".join(lines) + b"\n")
    return places


def test_malformed_lines_are_counted_and_located(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    preprocess([str(corpus)], word_tokenizer, tmp_path / "clean", QUIET)
    places = with_bad_lines(corpus)
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    [manifest] = preprocess([str(corpus)], word_tokenizer, tmp_path / "out", console, workers=2)
    assert manifest.malformed == 5
    assert outputs(tmp_path / "out") == outputs(tmp_path / "clean")
    text = console.export_text()
    for place in places:
        assert f"corpus.jsonl:{place}:" in text


def test_a_malformed_line_stops_the_job_where_that_is_asked_for(
    corpus: Path, word_tokenizer: Path, tmp_path: Path
) -> None:
    with_bad_lines(corpus)
    lines = corpus.read_bytes().splitlines()
    corpus.write_bytes(b"\n".join(lines[1:]))  # the first bad line is then far into the file
    with pytest.raises(DataError, match=r"corpus\.jsonl:699: a list, not an object"):
        preprocess(
            [str(corpus)],
            word_tokenizer,
            tmp_path / "out",
            QUIET,
            workers=2,
            options=PreprocessOptions(on_error="fatal"),
        )
    assert not Path(f"{tmp_path / 'out'}.bin").exists()


def test_a_truncated_zst_is_located_and_what_came_before_is_kept(word_tokenizer: Path, tmp_path: Path) -> None:
    text = "".join(json.dumps({"text": "the cat sat " * 50, "n": n * 7919}) + "\n" for n in range(5000))
    whole = zstandard.ZstdCompressor(level=1).compress(text.encode())
    (tmp_path / "c.jsonl.zst").write_bytes(whole[: len(whole) // 2])
    [manifest] = preprocess([str(tmp_path / "c.jsonl.zst")], word_tokenizer, tmp_path / "out", QUIET)
    assert manifest.malformed >= 1


def test_an_empty_corpus_and_missing_files_are_refused(word_tokenizer: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    for content in ("", "\n\n", '{"text": ""}\n', '{"other": "x"}\n'):
        empty.write_text(content)
        with pytest.raises(DataError, match="no document with text"):
            preprocess([str(empty)], word_tokenizer, tmp_path / "out", QUIET)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        preprocess([str(tmp_path / "none*.jsonl")], word_tokenizer, tmp_path / "out", QUIET)
    with pytest.raises(FileNotFoundError, match="no such tokenizer"):
        preprocess([str(empty)], tmp_path / "none", tmp_path / "out", QUIET)
    (tmp_path / "x.pdf").write_text("x")
    with pytest.raises(DataError, match="unsupported file type"):
        preprocess([str(tmp_path / "x.pdf")], word_tokenizer, tmp_path / "out", QUIET)
    assert not list(tmp_path.glob("out*"))


def test_a_finished_output_is_never_silently_replaced(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "out"
    [first] = preprocess([str(corpus)], word_tokenizer, prefix, QUIET)
    written_at = Path(f"{prefix}.bin").stat().st_mtime_ns
    assert preprocess([str(corpus)], word_tokenizer, prefix, QUIET, workers=2) == [first]
    assert Path(f"{prefix}.bin").stat().st_mtime_ns == written_at
    with pytest.raises(DataError, match="exists and was made from other inputs or options"):
        preprocess([str(corpus)], word_tokenizer, prefix, QUIET, options=PreprocessOptions(append_eod=False))
    preprocess(
        [str(corpus)], word_tokenizer, prefix, QUIET, overwrite=True, options=PreprocessOptions(append_eod=False)
    )
    assert load_manifest(prefix).eod_id is None


def test_merging_equals_preprocessing_both_inputs_at_once(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    lines = corpus.read_bytes().splitlines(keepends=True)
    parts = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    parts[0].write_bytes(b"".join(lines[:300]))
    parts[1].write_bytes(b"".join(lines[300:]))
    for part in parts:
        preprocess([str(part)], word_tokenizer, part.with_suffix(""), QUIET)
    [whole] = preprocess([str(part) for part in parts], word_tokenizer, tmp_path / "whole", QUIET)
    merged = merge([str(part.with_suffix("")) for part in parts], tmp_path / "merged")
    assert outputs(tmp_path / "merged") == outputs(tmp_path / "whole")
    assert (merged.documents, merged.tokens, merged.text_bytes) == (whole.documents, whole.tokens, whole.text_bytes)
    preprocess([str(parts[0])], word_tokenizer, tmp_path / "other", QUIET, options=PreprocessOptions(append_eod=False))
    with pytest.raises(DataError, match="eod_id"):
        merge([str(tmp_path / "a"), str(tmp_path / "other")], tmp_path / "bad")
    data = bytearray((tmp_path / "b.bin").read_bytes())
    data[10] ^= 1
    (tmp_path / "b.bin").write_bytes(data)
    with pytest.raises(DataError, match=r"b\.bin: differs from its checksum"):
        merge([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "bad")


@pytest.mark.parametrize("prefix", ["", "corpus.jsonl", "link"])
def test_a_prefix_that_is_a_file_or_an_input_is_refused(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "link").symlink_to("link")
    output = tmp_path / prefix if prefix else Path()
    with pytest.raises(DataError, match="cannot be the prefix of new files"):
        preprocess([str(corpus)], word_tokenizer, output, QUIET, overwrite=True)


def test_data_do_not_replace_the_tokenizers_files(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(word_tokenizer, tmp_path / "tokenizer")
    (folder / "data.bin").write_bytes(b"part of the tokenizer")
    with pytest.raises(DataError, match=r"data\.bin: is the input"):
        preprocess([str(corpus)], folder, folder / "data", QUIET, overwrite=True)
    [manifest] = preprocess([str(corpus)], folder, folder / "other", QUIET)
    assert manifest.documents and (folder / "other.bin").is_file()


def test_overwrite_replaces_a_dataset_and_nothing_else(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(b"a film")
    with pytest.raises(DataError, match=r"out\.bin: is not part of a dataset"):
        preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET, overwrite=True)
    assert (tmp_path / "out.bin").read_bytes() == b"a film"
