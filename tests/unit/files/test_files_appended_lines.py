"""A file that is appended to keeps every complete line and drops the one that a kill cut off."""

from pathlib import Path

from megalite.files.appended_lines import append_lines, complete_lines


def test_a_partial_last_line_is_ignored_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert complete_lines(path) == []
    append_lines(path, [b"one\n", b"two\n"])
    path.write_bytes(path.read_bytes() + b"x" * 100_000)
    assert complete_lines(path) == [b"one\n", b"two\n"]
    append_lines(path, [b"three\n"])
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_partial_line_alone_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"half")
    assert complete_lines(path) == []
    append_lines(path, [])
    assert path.read_bytes() == b""
