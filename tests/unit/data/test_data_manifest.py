"""Manifests and index files that cannot be true are refused in one line, before anything is allocated."""

import json
import re
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from rich.console import Console

from megalite.config.errors import DataError, describe
from megalite.data.index_file import HEADER, MAGIC, VERSION, write_index
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import FORMAT, load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess

QUIET = Console(quiet=True)
Change = Callable[[dict[str, Any]], Any]


def written(prefix: Path, lengths: list[int], dtype: type[np.generic] = np.uint16) -> Path:
    np.arange(sum(lengths)).astype(dtype).tofile(f"{prefix}.bin")
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, np.dtype(dtype), np.array(lengths, dtype=np.int32))
    return prefix


@pytest.fixture
def prefix(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> Path:
    preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)
    return tmp_path / "out"


def test_a_manifest_is_read_as_it_was_written(prefix: Path) -> None:
    manifest = load_manifest(prefix)
    assert manifest == verify_manifest(prefix)
    assert json.loads(manifest.to_json()) == json.loads(Path(f"{prefix}.manifest.json").read_text())
    older = json.loads(manifest.to_json()) | {"format": "megalite-indexed-3"}
    del older["folder"]
    Path(f"{prefix}.manifest.json").write_text(json.dumps(older))
    assert load_manifest(prefix).tokens == manifest.tokens


def assign(*path: Any, value: Any) -> Change:
    def change(values: dict[str, Any]) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (assign("documents", value=-1), "documents: .*greater than or equal to 0, not -1"),
        (assign("documents", value=7), "its counts give"),
        (assign("sequences", value=7), "its counts give"),
        (assign("tokens", value=7), "its counts give"),
        (assign("tokens", value="7"), "tokens: .*integer, not '7'"),
        (assign("tokens", value=True), "tokens: .*integer"),
        (assign("tokens", value=7.5), "tokens: .*integer"),
        (assign("tokens", value=None), "tokens: .*integer, not None"),
        (assign("tokens", value=1 << 63), "tokens: "),
        (assign("text_bytes", value=0), "tokens of 0 bytes of text"),
        (assign("vocab_size", value=0), "vocab_size: "),
        (assign("dtype", value="int64"), "its counts give"),
        (assign("dtype", value="float32"), "dtype is 'float32'"),
        (assign("dtype", value="object"), "dtype is 'object'"),
        (assign("eod_id", value=5000), "eod_id=5000 is not in a vocabulary"),
        (assign("keys", value="text"), "keys: "),
        (assign("level", value="paragraph"), "level: "),
        (assign("malformed", value=3), "malformed=3, and its sources have 0"),
        (assign("pieces", 0, "documents", value=3), "source 0 has"),
        (assign("pieces", 0, "source", value=3), "a piece is of source 3, and there are 1"),
        (assign("pieces", value=[]), "source 0 has"),
        (assign("sources", value=[]), "a piece is of source 0"),
        (assign("sources", 0, "documents", value=3), "source 0 has 3 documents"),
        (assign("bin", value={}), "bin.bytes: Field required"),
        (assign("bin", "checksum", value=""), "bin.checksum: "),
        (assign("idx", "bytes", value=7), "the .idx has 7 bytes"),
        (assign("more", value=1), "more: "),
        (assign("format", value="other"), "format 'other'"),
        (assign("format", value=["x" * 10_000]), "format "),
    ],
)
def test_a_manifest_of_impossible_facts_is_refused_in_one_line(prefix: Path, change: Change, message: str) -> None:
    values = json.loads(Path(f"{prefix}.manifest.json").read_text())
    change(values)
    Path(f"{prefix}.manifest.json").write_text(json.dumps(values))
    for use in (load_manifest, verify_manifest, lambda p: merge([str(p)], Path(f"{p}-merged"))):
        with pytest.raises(DataError, match=message) as caught:
            use(prefix)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert not list(prefix.parent.glob("*merg*"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'"text"',
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"format": "%s", "documents": NaN}' % FORMAT.encode(),
        b'{"format": "%s", "documents": %s}' % (FORMAT.encode(), b"9" * 5000),
        b'{"format": "x", "format": "%s"}' % FORMAT.encode(),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(prefix: Path, content: bytes) -> None:
    Path(f"{prefix}.manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"out\.manifest\.json: ") as caught:
        verify_manifest(prefix)
    assert "\n" not in str(caught.value)


def test_a_manifest_beside_other_files_is_refused(
    prefix: Path, word_tokenizer: Path, tmp_path: Path, inspect: Callable[..., str]
) -> None:
    (tmp_path / "b.jsonl").write_text('{"text": "the cat"}\n{"text": "a dog"}\n')
    preprocess([str(tmp_path / "b.jsonl")], word_tokenizer, tmp_path / "b", QUIET)
    for suffix in (".bin", ".idx"):
        Path(f"{tmp_path / 'b'}{suffix}").rename(f"{prefix}{suffix}")
    with pytest.raises(DataError, match="differs from its checksum"):
        verify_manifest(prefix)
    assert inspect(str(prefix)).startswith(f"megalite: error: {prefix}: documents is ")


def index_file(sequences: int, boundaries: int, rest: bytes = b"", code: int = 8) -> bytes:
    return HEADER.pack(MAGIC, VERSION, code, sequences, boundaries) + rest


LENGTHS, OFFSETS = struct.pack("<2i", 3, 2), struct.pack("<2q", 0, 6)
BOUNDARIES = struct.pack("<3q", 0, 1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (index_file(1 << 60, 1 << 60), "truncated or damaged"),
        (index_file((1 << 64) - 1, (1 << 64) - 1), "truncated or damaged"),
        (index_file(0, 0), "truncated or damaged"),
        (index_file(2, 3, struct.pack("<2i", -3, 8) + OFFSETS + BOUNDARIES), "has length -3"),
        (index_file(2, 3, LENGTHS + struct.pack("<2q", 0, 1 << 62) + BOUNDARIES), "begins at byte"),
        (index_file(2, 3, LENGTHS + struct.pack("<2q", -6, 0) + BOUNDARIES), "begins at byte -6"),
        (index_file(2, 3, LENGTHS + OFFSETS + struct.pack("<3q", 0, 2, 1)), "out of order"),
        (index_file(2, 3, LENGTHS + OFFSETS + struct.pack("<3q", 0, 1, 9)), "last document ends at sequence 9 of 2"),
        (index_file(2, 3, LENGTHS + OFFSETS + struct.pack("<3q", 0, -1, 2)), "out of order"),
        (index_file(2, 3, LENGTHS + OFFSETS + BOUNDARIES + b"\0\0"), "is multimodal"),
        (index_file(2, 3, LENGTHS + OFFSETS + BOUNDARIES + b"\0"), "truncated or damaged"),
        (index_file(2, 3, LENGTHS + OFFSETS + BOUNDARIES, code=7), "contains float32 values, not token ids"),
        (index_file(2, 3, LENGTHS + OFFSETS + BOUNDARIES, code=4), "begins at byte 6, the one before ends at 12"),
    ],
)
def test_an_index_that_cannot_be_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    prefix = written(tmp_path / "x", [3, 2])
    IndexedDataset(prefix)
    Path(f"{prefix}.idx").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        IndexedDataset(prefix)
    assert "\n" not in str(caught.value)


def test_a_prefix_that_is_none_is_told_apart(tmp_path: Path) -> None:
    written(tmp_path / "x", [3, 2])
    (tmp_path / "y.idx").mkdir()
    (tmp_path / "z.idx").write_bytes((tmp_path / "x.idx").read_bytes())
    (tmp_path / "z.bin").mkdir()
    (tmp_path / "a.idx").symlink_to(tmp_path / "b.idx")
    (tmp_path / "b.idx").symlink_to(tmp_path / "a.idx")
    for name, message in [
        ("", "is a folder; give the prefix of a .bin and .idx, such as "),
        ("x.bin", "give the prefix .*x alone"),
        ("x.idx", "give the prefix .*x alone"),
        ("none", r"none\.idx: missing; make it with megalite preprocess-data"),
        ("y", r"y\.idx: is not a regular file"),
        ("z", r"z\.bin: is not a regular file"),
        ("a", r"a\.idx: Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
        ("x.bin/x", "Not a directory"),
    ]:
        with pytest.raises((DataError, OSError)) as caught:
            IndexedDataset(f"{tmp_path}/{name}")
        line = describe(caught.value)
        assert re.search(message, line), (name, line)
        assert "\n" not in line


@pytest.fixture
def inspect(megalite: Any) -> Iterator[Callable[..., str]]:
    """The one line of a command that was refused, with at most 1 GiB of memory more than this process has."""

    def run(*arguments: str) -> str:
        done = megalite("inspect-data", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        (line,) = done.stderr.splitlines()
        return line

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (1 << 30), before[1]))
    yield run
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("lengths", "dtype", "options", "message"),
    [
        (
            [3, 2],
            np.uint16,
            ["--sample", "0", "--sequence_length", "1000000000"],
            "sequence length of 1,000,000,000",
        ),
        ([3, 2], np.uint16, ["--sample", "0", "--sequence_length", "100000"], "is not in 1..5,000"),
        ([3, 2], np.uint16, ["--sample", "0", "--sequence_length", "0"], "at least 1"),
        ([3, 2], np.uint16, ["--document", "2"], "--document=2 is not in 0..1"),
        ([3, 2], np.uint16, ["--epoch", "1"], "--epoch needs --sample"),
        ([], np.uint16, ["--sample", "0"], "contains no token"),
        ([0, 0], np.uint16, ["--sample", "0"], "contains no token"),
    ],
)
def test_inspect_checks_bounds_before_it_allocates(
    tmp_path: Path,
    lengths: list[int],
    dtype: type[np.generic],
    options: list[str],
    message: str,
    inspect: Callable[..., str],
) -> None:
    prefix = written(tmp_path / "x", lengths, dtype)
    assert message in inspect(str(prefix), *options)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_empty_datasets_have_statistics(tmp_path: Path, lengths: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    from megalite.data.inspect.command import main

    prefix = written(tmp_path / "x", lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["inspect", str(prefix)])
        main()
        patch.setattr(sys, "argv", ["inspect", str(prefix), "--json"])
        capsys.readouterr()
        main()
    assert json.loads(capsys.readouterr().out)["documents"] == len(lengths)


def test_ids_of_no_vocabulary_are_no_memory_bomb(tmp_path: Path) -> None:
    from megalite.data.inspect.statistics import dataset_statistics

    for name, value in (("negative", -1), ("huge", 1 << 60)):
        prefix = written(tmp_path / name, [3], np.int64)
        np.array([1, value, 2], dtype=np.int64).tofile(f"{prefix}.bin")
        with pytest.raises(DataError, match=f"id {value} is in no vocabulary"):
            dataset_statistics(IndexedDataset(prefix), lambda _: None)
