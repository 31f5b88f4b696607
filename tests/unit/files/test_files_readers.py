import gzip
import json
from pathlib import Path

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from megalite.config.errors import DataError
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import ReadReport

ROWS = [{"text": f"text {n}", "id": n} for n in range(50)]


def jsonl() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.jsonl").write_bytes(jsonl())
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(jsonl()))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(jsonl()[:300]) + zstandard.compress(jsonl()[300:]))
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "d.parquet", row_group_size=7)
    return sorted(tmp_path.iterdir())


def test_every_kind_of_file_gives_the_same_documents(files: list[Path]) -> None:
    for path in files:
        documents = list(read_documents([path]))
        assert [d.text for d in documents] == [row["text"] for row in ROWS]
        assert [d.line for d in documents] == list(range(1, 51))
        assert documents[7].meta == {"id": 7}
        assert documents[0].path == str(path)


def test_a_txt_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("one\n\ntwo\n")
    assert [d.text for d in read_documents([tmp_path / "x.txt"])] == ["one\n\ntwo\n"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", "a list, not an object"),
        (b'{"body": "x"}', "no key 'text'; the keys are body"),
        (b'{"text": null}', "'text' holds nothing, not text"),
        (b'{"text": "\xff"}', "not JSON"),
        (b'{"text": "\\ud800"}', "contains a lone surrogate"),
        (b'{"text": "a\x00b"}', "not JSON"),
    ],
)
def test_a_malformed_line_is_counted_located_or_fatal(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n' + line + b'\n{"text": "b"}\n')
    report = ReadReport()
    assert [d.text for d in read_documents([path], report=report)] == ["a", "b"]
    assert report.malformed == 1
    assert report.examples[0].startswith(f"{path}:3: {reason}")
    with pytest.raises(DataError, match=r"x\.jsonl:3: "):
        list(read_documents([path], on_error="fatal"))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_is_located_and_its_beginning_kept(tmp_path: Path, suffix: str) -> None:
    lines = "".join(json.dumps({"text": f"{n * 7919 % 10007} " * 30}) + "\n" for n in range(20_000)).encode()
    packed = gzip.compress(lines) if suffix == ".gz" else zstandard.compress(lines)
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    report = ReadReport()
    kept = list(read_documents([path], report=report))
    assert 0 < len(kept) < 20_000
    assert report.malformed == 1
    assert report.examples[0].startswith(f"{path}:{len(kept) + 1}: damaged from here on")


def test_a_zst_cut_between_two_lines_is_not_whole(tmp_path: Path) -> None:
    writer = zstandard.ZstdCompressor().compressobj()  # a writer that died after a flush: every line is whole
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(writer.compress(jsonl()) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    report = ReadReport()
    assert len(list(read_documents([path], report=report))) == 50
    assert report.examples == [f"{path}:51: damaged from here on: the file ends inside a compressed frame"]
    with pytest.raises(DataError, match=r"x\.jsonl\.zst:51: "):
        list(read_documents([path], on_error="fatal"))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_half_a_txt_file_is_no_document(tmp_path: Path, suffix: str) -> None:
    text = "".join(str(n * 7919 % 10007) for n in range(100_000)).encode()
    packed = gzip.compress(text) if suffix == ".gz" else zstandard.compress(text)
    (tmp_path / f"x.txt{suffix}").write_bytes(packed[: len(packed) // 2])
    report = ReadReport()
    assert list(read_documents([tmp_path / f"x.txt{suffix}"], report=report)) == []
    assert report.malformed == 1


def test_inputs_that_name_nothing_or_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file matches"):
        expand_inputs([str(tmp_path / "*.jsonl")])
    (tmp_path / "x.docx").write_text("")
    with pytest.raises(DataError, match="unsupported file type"):
        expand_inputs([str(tmp_path / "*")])


def test_globs_are_sorted_and_each_file_comes_once(files: list[Path]) -> None:
    folder = files[0].parent
    assert expand_inputs([str(folder / "*"), str(folder / "a.jsonl")]) == files


def test_a_parquet_without_the_column_names_its_columns(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist([{"body": "x"}]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column 'text'; the columns are body"):
        list(read_documents([tmp_path / "x.parquet"]))
    (tmp_path / "y.parquet").write_bytes(b"no parquet")
    report = ReadReport()
    assert list(read_documents([tmp_path / "y.parquet"], report=report)) == []
    assert "not a parquet file" in report.examples[0]


def test_a_parquet_row_that_is_not_utf8_is_located(tmp_path: Path) -> None:
    values = [b"a", b"\xff", b"c"]
    column = pyarrow.array(values, pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": column}), tmp_path / "x.parquet")
    report = ReadReport()
    assert [(d.text, d.line) for d in read_documents([tmp_path / "x.parquet"], report=report)] == [("a", 1), ("c", 3)]
    assert report.examples[0].startswith(f"{tmp_path / 'x.parquet'}:2: not UTF-8")


def test_a_damaged_row_group_is_located_and_others_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [{"text": f"{n * 7919 % 10007} {n}"} for n in range(900)]
    parquet.write_table(
        pyarrow.Table.from_pylist(rows), path, row_group_size=300, compression="zstd", use_dictionary=False
    )
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    end = column.data_page_offset + column.total_compressed_size
    content[column.data_page_offset + 40 : end] = b"\xff" * (column.total_compressed_size - 40)
    path.write_bytes(content)
    report = ReadReport()
    assert [d.line for d in read_documents([path], report=report)] == [*range(1, 301), *range(601, 901)]
    assert report.malformed == 1
    assert report.examples[0].startswith(f"{path}:301: damaged from here to row 600: ")


def test_a_plain_path_may_hold_the_characters_of_a_glob(tmp_path: Path) -> None:
    path = tmp_path / "part[1].jsonl"
    path.write_bytes(jsonl())
    assert expand_inputs([str(path)]) == [path]


def test_real_corpora_are_read_whole(shared_data: Path) -> None:
    report = ReadReport()
    count = sum(1 for _ in read_documents([shared_data / "corpus/state_of_the_union_en.jsonl.zst"], report=report))
    assert (count, report.malformed) == (233, 0)
