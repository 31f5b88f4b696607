"""Files as they come: odd bytes that cost no record, and bombs that cost no memory."""

import gzip
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from megalite.config.errors import DataError
from megalite.files.readers.documents import read_documents, read_piece
from megalite.files.readers.malformed import ReadReport, refuse_malformed
from megalite.files.readers.pieces import cut

MARK = b"\xef\xbb\xbf"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def texts(path: Path, report: ReadReport | None = None) -> list[str]:
    return [document.text for document in read_documents([path], report=report or ReadReport())]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_byte_order_mark_costs_no_record(tmp_path: Path, suffix: str) -> None:
    lines = b"".join(b'{"text": "%d"}\r\n' % number for number in range(50))
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](MARK + lines + b"\r\n\n" + MARK + lines + MARK))  # two files put together
    report = ReadReport()
    assert texts(path, report) == [str(number) for number in range(50)] * 2
    assert report.malformed == 0
    path = tmp_path / f"y.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](MARK + b"one\r\ntwo"))
    assert texts(path) == ["one\r\ntwo"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50])
def test_pieces_hold_each_record_once_wherever_they_are_cut(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(MARK + b'{"text": "%d\xe2\x80\xa8"}\r\n\n' % number for number in range(8))[:-3])
    pieces = cut(path, size)
    report = ReadReport()
    found = [document.text for piece in pieces for document in read_piece(piece, "text", "skip", report)]
    assert found == [f"{number}\u2028" for number in range(8)]  # the last line has no end
    assert (len(pieces) > 1, report.malformed) == (True, 0)


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "[1, NaN]", "9" * 5000, "-" + "9" * 20_000, "1e999", "0." + "1" * 9000,
     '"\\ud800"', '{"\\udfff": ["\\ud800x"]}', '"\\u0000"', "null"],
)  # fmt: skip
def test_what_stands_in_an_unused_field_drops_no_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"other": {value}, "text": "a\\ud83d\\ude00"}}\n')
    report = ReadReport()
    (document,) = read_documents([path], report=report)
    assert (document.text, report.malformed) == ("a\U0001f600", 0)
    json.dumps(document.meta, ensure_ascii=False).encode()  # nothing in it that a file cannot hold


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a\xff"}', "not JSON"),
        (b'{"text": "\\ud800", "other": NaN}', "contains a lone surrogate"),
        (b"\0" * 50, "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "not JSON"),
        ('{"text": "a"}'.encode("utf-16"), "not JSON: UTF-16; convert the file to UTF-8"),
        (gzip.compress(b"{}", mtime=0), "not JSON: gzip data"),
        (b'{"txt": "a", "%s": 1}' % (b"k" * 1000), "no key 'text'; the keys are txt, kkk"),
        (b"NaN", "nothing, not an object"),
    ],
)
def test_a_malformed_line_is_told_in_a_short_line(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "first"}\n' + line.replace(b"\n", b""))
    report = ReadReport()
    assert texts(path, report) == ["first"]
    assert report.malformed >= 1
    assert report.examples[0].startswith(f"{path}:2: {reason}")
    assert len(report.examples[0]) < 500


@pytest.mark.parametrize(
    ("documents", "malformed", "most", "is_refused"),
    [
        (100, 0, None, False), (0, 0, None, False), (0, 1, None, True), (1, 1, None, True), (2, 1, None, False),
        (3, 3, None, True), (4, 3, None, False), (396, 4, None, False), (395, 5, None, True), (50, 3, None, False),
        (50, 4, None, True), (99_000, 1000, None, False), (98_999, 1001, None, True),
        (9, 1, 0.1, False), (8, 2, 0.1, True), (9, 1, 0.0, True), (1, 9, 9.0, False), (1, 10, 9.0, True),
    ],
)  # fmt: skip
def test_so_much_may_be_malformed(documents: int, malformed: int, most: float | None, is_refused: bool) -> None:
    if not is_refused:
        refuse_malformed(documents, malformed, ["x:3: no"], most)
        return
    total = documents + malformed
    with pytest.raises(DataError, match=rf"^{malformed:,} of {total:,} records are malformed, .*the first: x:3: no; "):
        refuse_malformed(documents, malformed, ["x:3: no"], most)


def test_a_wrong_key_says_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "meta": {}}\n' * 5)
    with pytest.raises(DataError, match=r"5 of 5 records .*x\.jsonl:1: no key 'txt'; the keys are text, meta"):
        list(read_documents([tmp_path / "x.jsonl"], "txt"))
    assert len(list(read_documents([tmp_path / "x.jsonl"]))) == 5


ODD: dict[str, pa.Array] = {
    "null": pa.nulls(4),
    "list": pa.array([["a"], [], None, ["b"]]),
    "struct": pa.array([{"a": 1}] * 4),
    "bytes": pa.array([b"a", b"\xff", None, b"c"]),
    "integer": pa.array([1, 2, 3, 4]),
    "far date": pa.array([1 << 60] * 4, pa.timestamp("ms")),
    "nanoseconds": pa.array([1, 2, 3, 4], pa.timestamp("ns")),
    "duration": pa.array([1 << 62] * 4, pa.duration("s")),
    "map": pa.array([[("a", 1)]] * 4, pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("kind", ODD)
def test_columns_of_any_type_are_counted_and_never_a_traceback(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"text": ["a", "b", "c", "d"], "odd": ODD[kind]}), path, store_schema=True)
    assert texts(path) == ["a", "b", "c", "d"]
    report = ReadReport()
    assert list(read_documents([path], "odd", report=report)) == []
    assert report.malformed == 4
    assert report.examples[0].startswith(f"{path}:1: ")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()])
def test_strings_of_every_kind_are_texts(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array(["a", None, "c", "a"], kind)
    parquet.write_table(pa.table({"text": column}), tmp_path / "x.parquet")
    report = ReadReport()
    assert texts(tmp_path / "x.parquet", report) == ["a", "c", "a"]
    assert report.examples == [f"{tmp_path / 'x.parquet'}:2: 'text' holds nothing, not text"]


def test_invalid_bytes_cost_only_their_own_row(tmp_path: Path) -> None:
    broken = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    parquet.write_table(pa.table({"text": broken, "other": pa.array(["x", "y", "z"])}), tmp_path / "x.parquet")
    parquet.write_table(pa.table({"text": pa.array(["x", "y", "z"]), "other": broken}), tmp_path / "y.parquet")
    assert texts(tmp_path / "x.parquet") == ["a", "c"]
    assert texts(tmp_path / "y.parquet") == ["x", "y", "z"]


@pytest.mark.parametrize(("depth", "found"), [(30, ["a"]), (300, [])])
def test_a_column_nested_very_deep_is_no_traceback(tmp_path: Path, depth: int, found: list[str]) -> None:
    deep = pa.array([1])
    for _ in range(depth):
        deep = pa.ListArray.from_arrays(pa.array([0, 1]), deep)
    parquet.write_table(pa.table({"text": ["a"], "deep": deep}), tmp_path / "x.parquet")
    report = ReadReport()
    assert texts(tmp_path / "x.parquet", report) == found
    assert report.malformed == 1 - len(found)


BOMB = 600 << 20
"""Bytes that a line unfolds to: more than one may have."""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of some kilobytes that unfold to 600 MB without a line end, then a good record."""
    folder, block = tmp_path_factory.mktemp("bombs"), b"a" * (1 << 20)
    for suffix in ("jsonl", "txt", "html", "warc"):
        packer = zstandard.ZstdCompressor().compressobj()
        with (folder / f"x.{suffix}.zst").open("wb") as file:
            for _ in range(BOMB >> 20):
                file.write(packer.compress(block))
            file.write(packer.compress(b'\n{"text": "good"}\n') + packer.flush())
    return folder


def read_in_little_memory(path: Path) -> tuple[list[str], list[str]]:
    """Texts and malformed places, read in a process that may have 1.5 GB of address space."""
    code = (
        "import json, sys, resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))\n"
        "from pathlib import Path; from megalite.files.readers.documents import *\n"
        "report = ReadReport()\n"
        "found = [d.text[:9] for d in read_documents([Path(sys.argv[1])], report=report)]\n"
        "print(json.dumps([found, report.examples]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-500:]
    found, examples = json.loads(done.stdout)
    return found, examples


@pytest.mark.parametrize(
    ("name", "found", "reason"),
    [
        ("x.jsonl.zst", ["good"], ":1: a line of more than 268,435,456 bytes"),
        ("x.txt.zst", [], ":1: not readable as UTF-8 text: more than 268,435,456 bytes in one document"),
        ("x.warc.zst", [], ":1: damaged from here on: "),
    ],
)
def test_a_line_without_an_end_is_passed_over_in_bounded_memory(
    bombs: Path, name: str, found: list[str], reason: str
) -> None:
    texts_read, examples = read_in_little_memory(bombs / name)
    assert texts_read == found
    assert [example.startswith(f"{bombs / name}{reason}") for example in examples] == [True]


def test_long_distance_frames_are_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()  # the size is not in the frame
    content = packer.compress(b'{"text": "far"}\n') + packer.flush()
    (tmp_path / "x.jsonl.zst").write_bytes(content)
    assert texts(tmp_path / "x.jsonl.zst") == ["far"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20
