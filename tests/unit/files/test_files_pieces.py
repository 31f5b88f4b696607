import gzip
import json
import random
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from megalite.config.errors import DataError
from megalite.files.readers import input_units
from megalite.files.readers.documents import Document, read_documents, read_piece
from megalite.files.readers.input_units import find_inputs
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.pieces import cut, numbered


def messy_lines(seed: int) -> bytes:
    """Lines of very uneven length, some blank, some broken, the last one with or without its end."""
    draw = random.Random(seed)
    lines = []
    for number in range(draw.randint(1, 40)):
        text = json.dumps({"text": f"{number} " + "é" * draw.choice([0, 1, 3, 50, 400])}, ensure_ascii=False)
        lines.append(draw.choice([text, text, text, "", "  ", "{broken", "x" * draw.randint(1, 300)]))
    return ("\n".join(lines) + draw.choice(["", "\n", "\n\n"])).encode()


def in_pieces(path: Path, most: int, report: ReadReport) -> list[Document]:
    return [
        document
        for piece in numbered(cut(path, most))
        for document in read_piece(piece, "text", "skip", report)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_lines_hold_every_document_once_with_its_line(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(messy_lines(seed))
    whole = ReadReport()
    expected = list(read_documents([path], report=whole))
    for most in (1, 2, 7, 64, 500, 10_000):
        report = ReadReport()
        assert in_pieces(path, most, report) == expected
        assert (report.documents, report.malformed, report.examples) == (
            whole.documents,
            whole.malformed,
            whole.examples,
        )


def test_pieces_of_parquet_are_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [{"text": f"text {number}" * 9, "id": number} for number in range(103)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10)
    assert len(cut(path, 1)) == 11
    assert 1 < len(cut(path, 2000)) < 11
    for most in (1, 2000, 10**9):
        assert in_pieces(path, most, ReadReport()) == list(read_documents([path]))


def test_what_can_only_be_read_whole_is_one_piece(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(messy_lines(1)))
    (tmp_path / "x.txt").write_text("one\ntwo\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no footer")
    for path in tmp_path.iterdir():
        assert len(cut(path, 1)) == 1
    report = ReadReport()
    assert in_pieces(tmp_path / "broken.parquet", 1, report) == []
    assert report.malformed == 1


def test_units_of_work_divide_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_units, "UNIT_BYTES", 1000)
    for name in "abc":
        text = "".join(json.dumps({"text": f"{name} {number}"}) + "\n" for number in range(100))
        (tmp_path / f"{name}.jsonl").write_text(text)
    inputs = find_inputs([str(tmp_path / "*.jsonl")], "text", "skip")
    assert len(inputs.units) >= 6
    assert all(sum(piece.size for piece in unit) <= 1000 for unit in inputs.units)
    read = [document for unit in range(len(inputs.units)) for _, document in inputs.documents(unit, ReadReport())]
    assert read == list(read_documents(sorted(tmp_path.glob("*.jsonl"))))
    (tmp_path / "b.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"b\.jsonl: has changed since the run began"):
        [list(inputs.documents(unit, ReadReport())) for unit in range(len(inputs.units))]
