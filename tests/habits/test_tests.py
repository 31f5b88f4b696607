"""The names of tests are short claims, and none hides another."""

import ast
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_names_are_short_and_each_is_used_once(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert not [name for name in names if len(name) > 60]
    assert not [name for name, count in Counter(names).items() if count > 1]
