"""Reads YAML and JSON from untrusted files: bounded in size and depth, every error a ``ConfigError``.

The YAML loader differs from ``SafeLoader`` in four ways: a repeated key is an error, as in the JSON reader; a date stays a
string; aliases may not expand to more than ``MAX_NODES`` values; nesting is limited.
"""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from megalite.config.errors import ConfigError, in_one_line

MAX_BYTES = 64 * 2**20
"""Size limit of one file; the largest are the ``tokenizer.json`` of tokenizers."""
MAX_YAML_BYTES = 2**20
"""Size limit of one YAML file: PyYAML reads about 100,000 bytes per second."""
MAX_NODES = 1_000_000
"""Limit of the values in one YAML file, counting every use of an alias."""
MAX_DEPTH = 64


def read_yaml_file(path: Path, what: str = "config file") -> Any:
    """Returns the value in a YAML file.

    Args:
        what: name of the file's kind in the error for a path that does not exist.

    Raises: FileNotFoundError; ConfigError; OSError.
    """
    return parse_yaml(_read(path, what, MAX_YAML_BYTES), str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Parses ``text``; ``source`` names it in errors. Raises: ConfigError."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ConfigError(f"{source}: nested deeper than {MAX_DEPTH} levels; reduce the nesting") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise ConfigError(f"{source}: not readable as YAML: {in_one_line(error)}") from None


def read_json_file(path: Path, what: str = "file", max_bytes: int = MAX_BYTES) -> Any:
    """Returns the value in a JSON file. Raises: FileNotFoundError; ConfigError; OSError."""
    return parse_json(_read(path, what, max_bytes), str(path))


def read_json_object(path: Path, what: str = "file", max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Returns the object in a JSON file. Raises: FileNotFoundError; ConfigError if it contains something else; OSError."""
    value = read_json_file(path, what, max_bytes)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: contains {kind_of(value)}, not an object")
    return value


def parse_json(text: str, source: str) -> Any:
    """Parses ``text``; repeated keys, ``NaN`` and ``Infinity`` are errors. Raises: ConfigError."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply; reduce the nesting") from None
    except ValueError as error:
        raise ConfigError(f"{source}: not readable as JSON: {in_one_line(error)}") from None


def kind_of(value: Any) -> str:
    """Returns the JSON type of a parsed value, for messages."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _read(path: Path, what: str, max_bytes: int = MAX_BYTES) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such {what}; check the path")
    if not path.is_file():
        raise ConfigError(f"{path}: not a file; give a {what}")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ConfigError(f"{path}: larger than {max_bytes:,} bytes; not a {what}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [key for key, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key '{repeated}' occurs twice in one section; keep one")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


class _Loader(yaml.SafeLoader):
    """``SafeLoader`` with limits, and a copy of its resolvers without dates."""

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}
        self._open: set[str] = set()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Raises: YAMLError if the node is too deep, contains itself, or expands to too many values."""
        event = self.peek_event()
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor in self._open:
                raise yaml.YAMLError(f"alias '*{anchor}' is part of the value that it names")
            return super().compose_node(parent, index)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels; reduce the nesting")
        if anchor is not None:
            self._open.add(anchor)
        node = super().compose_node(parent, index)
        self._open.discard(anchor or "")
        self._depth -= 1
        if node is not None:
            self._sizes[id(node)] = self._size(node)
        return node

    def _size(self, node: yaml.Node) -> int:
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        size = 1 + sum(self._sizes[id(child)] for child in children)
        if size > MAX_NODES:
            raise yaml.YAMLError(f"its aliases expand to more than {MAX_NODES:,} values")
        return size

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Raises: YAMLError if a key occurs twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"key '{key.value}' occurs twice in one section (line {line}); keep one")
                seen.add(key.value)
        return super().construct_mapping(node, deep)
