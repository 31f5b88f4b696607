"""Kinds of badness: what a path, a file, a number, a key or an environment can be instead of what it should be."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Spoil = Callable[[Path], None]


def nothing(world: Path) -> None:
    """The path alone is bad, the world stays as it is."""


def bad_paths(good: str) -> Iterator[tuple[str, str, Spoil]]:
    """(kind, what stands in the command line, what is done to the world)."""

    yield "missing", "none-here", nothing
    yield "empty", "", nothing
    yield "long", "x" * 300, nothing
    yield "under a file", "docs.jsonl/x", nothing
    yield "dev null", "/dev/null", nothing
    yield "dev zero", "/dev/zero", nothing
    yield "proc", "/proc/self/mem", nothing
    yield "glob of nothing", "none*", nothing
    yield "newline", "a\nb", nothing
    yield "not text", "\udcff", nothing
    yield "empty folder", "empty", lambda world: (world / "empty").mkdir()
    yield "dangling link", "link", lambda world: (world / "link").symlink_to("gone")
    yield "link to itself", "link", lambda world: (world / "link").symlink_to("link")
    yield "pipe", "pipe", lambda world: os.mkfifo(world / "pipe")
    yield "wrong kind", "model/config.json" if not good.endswith((".json", ".yaml")) else "docs.jsonl", nothing


def bad_outputs(output: str, first_input: str | None) -> Iterator[tuple[str, str, Spoil]]:
    """As :func:`bad_paths`, for what a command is to write."""

    def foreign(world: Path) -> None:
        (world / "theirs").mkdir()
        (world / "theirs" / "diary.txt").write_text("dear diary")

    yield "empty", "", nothing
    yield "long", "x" * 300, nothing
    yield "under a file", "docs.jsonl/x", nothing
    yield "proc", "/proc/none/out", nothing
    yield "sys", "/sys/out", nothing
    yield "foreign folder", "theirs", foreign
    yield "not text", "\udcff", nothing
    yield "folder of inputs", ".", nothing
    yield "parent", "..", nothing
    yield "link to itself", "link", lambda world: (world / "link").symlink_to("link")
    if first_input is not None:
        yield "the input", first_input, nothing
        yield "the input by a link", "link", lambda world: (world / "link").symlink_to(first_input)
        yield "the input by dots", f"model/../{first_input}", nothing
    for suffix in (".work", ".partial", ".replaced", ".merging"):

        def beside(world: Path, suffix: str = suffix) -> None:
            (world / f"{output}{suffix}").mkdir()
            (world / f"{output}{suffix}" / "diary.txt").write_text("dear diary")

        yield f"foreign {suffix}", output, beside


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "first half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-3],
    "second half": lambda content: content[len(content) // 2 :],
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: bytes((7 * n * n + 13 * n) % 256 for n in range(min(len(content), 5000))),
    "twice": lambda content: content * 2,
    "flipped bytes": lambda content: bytes(b ^ (0xFF if n % 97 == 50 else 0) for n, b in enumerate(content)),
    "null": lambda content: b"null",
    "list": lambda content: b"[]",
    "object": lambda content: b"{}",
    "text": lambda content: b'"text"',
    "number": lambda content: b"9" * 5000,
    "deep": lambda content: b"[" * 200_000,
    "utf-16": lambda content: content[:1000].decode(errors="replace").encode("utf-16"),
    "one endless line": lambda content: b"a" * 3_000_000,
}

LINES: dict[str, Callable[[str], str]] = {
    "byte-order mark": lambda line: "\ufeff" + line,
    "NaN": lambda line: line.replace("{", '{"unused": NaN, ', 1),
    "digits": lambda line: line.replace("{", '{"unused": ' + "9" * 6000 + ", ", 1),
    "surrogate": lambda line: line.replace("{", '{"unused": "\\ud800", ', 1),
    "not UTF-8": lambda line: line.replace("e", "\udcff", 1),
    "NUL": lambda line: line.replace(" ", "\0", 1),
    "a list": lambda line: "[1, 2]",
    "null": lambda line: "null",
    "empty object": lambda line: "{}",
    "deep": lambda line: "[" * 100_000,
    "cut": lambda line: line[: len(line) // 2],
    "all values null": lambda line: json.dumps(dict.fromkeys(json.loads(line))),
    "all values lists": lambda line: json.dumps({key: [[]] for key in json.loads(line)}),
    "all values empty": lambda line: json.dumps(dict.fromkeys(json.loads(line), "")),
    "all values numbers": lambda line: json.dumps(dict.fromkeys(json.loads(line), 1e300)),
}

VALUES: dict[str, Any] = {
    "null": None,
    "text": "moon",
    "minus one": -1,
    "zero": 0,
    "huge": 10**18,
    "digits": "9" * 5000,
    "inf": float("inf"),
    "nan": float("nan"),
    "list": [],
    "object": {},
    "true": True,
    "date": "2024-01-01",
    "nested": [[[[{}]]]],
}
NEVER_A_NUMBER = {"text", "inf", "nan", "object", "date", "nested", "digits", "list"}
"""Kinds of ``VALUES`` that no key with a number can take."""

NUMBERS = ("-1", "0", "1e18", "1000000000000", "nan", "inf", "abc", "", "0x10", "1e400", "9" * 5000, "٣")


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Replace the content of a file."""

    def spoil(world: Path) -> None:
        (world / name).write_bytes(change((world / name).read_bytes()))

    return spoil


def rewrite_lines(name: str, change: Callable[[str], str], every: bool) -> Spoil:
    """Replace the first line of a file, or every one."""

    def spoil(world: Path) -> None:
        lines = (world / name).read_text().splitlines()
        lines = [change(line) for line in lines] if every else [change(lines[0]), *lines[1:]]
        (world / name).write_text("\n".join(lines) + "\n", errors="surrogateescape")

    return spoil


def remove(name: str) -> Spoil:
    """Take a file away."""
    return lambda world: (world / name).unlink()


def link_away(name: str) -> Spoil:
    """A link to a file of somebody else stands in its place."""

    def spoil(world: Path) -> None:
        (world / name).unlink()
        (world / name).symlink_to("/etc/hostname")

    return spoil


def folder_instead(name: str) -> Spoil:
    """A folder stands in the place of a file."""

    def spoil(world: Path) -> None:
        (world / name).unlink()
        (world / name).mkdir()

    return spoil


def keys_of(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every path of keys and list positions in a parsed file, with its value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, below in items:
        yield (*prefix, key), below
        yield from keys_of(below, (*prefix, key))


def change_key(name: str, path: tuple[Any, ...], value: Any, delete: bool = False) -> Spoil:
    """Set or delete one key of a YAML or JSON file."""

    def spoil(world: Path) -> None:
        file = world / name
        is_yaml = name.endswith((".yaml", ".yml"))
        values = yaml.safe_load(file.read_text()) if is_yaml else json.loads(file.read_text())
        inside = values
        for key in path[:-1]:
            inside = inside[key]
        if delete:
            del inside[path[-1]]
        else:
            inside[path[-1]] = value
        file.write_text(yaml.safe_dump(values) if is_yaml else json.dumps(values))

    return spoil


def copy_aside(name: str, to: str) -> Spoil:
    """Copy a folder within the world."""
    return lambda world: shutil.copytree(world / name, world / to)
