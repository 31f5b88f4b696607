"""Text of strangers: bounded, and every mistake one ``ConfigError``."""

from pathlib import Path

import pytest

from megalite.config.errors import ConfigError
from megalite.config.text_files import parse_json, parse_yaml, read_json_object, read_yaml_file

TENFOLD = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' occurs twice in one section .line 3."),
        ("a:\n  - {b: 1, b: 2}", "key 'b' occurs twice"),
        ("a: &a [*a]", "part of the value"),
        (TENFOLD, "expand to more than"),
        ("[" * 1000 + "]" * 1000, "nested deeper"),
        ("a: " + "9" * 5000, "digits"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [1]\n: 2", "unhashable"),
        ("a: \0", "special characters"),
    ],
    ids=lambda value: value[:12],
)
def test_yaml_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_yaml(text, "f.yaml")


def test_yaml_keeps_dates_as_text_and_accepts_aliases() -> None:
    text = "a: 2024-01-01\nb: &b {x: 1}\nc: [*b, *b]\nd: {<<: *b, x: 2}"
    assert parse_yaml(text, "f.yaml") == {"a": "2024-01-01", "b": {"x": 1}, "c": [{"x": 1}] * 2, "d": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ("1" * 5000, "digits"),
        ('{"a": ', "not readable as JSON"),
    ],
    ids=lambda value: value[:12],
)
def test_json_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_json(text, "f.json")


def test_files_are_bounded_text(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert read_json_object(path) == {}
    for content, reason in (
        (b"[]", "contains a list, not an object"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 99, "larger"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=reason):
            read_json_object(path, max_bytes=50)
    with pytest.raises(ConfigError, match="not a file"):
        read_yaml_file(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such config file"):
        read_yaml_file(tmp_path / "none")
