"""The house's floors: a module imports only from lower floors or its own room, and heavy libraries have their rooms."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "megalite"
FLOORS = {
    "config": 0,
    "files": 1,
    "templates": 1,
    "jobs": 2,
    "parallel": 2,
    "corpus": 3,
    "model": 3,
    "tokenizer": 4,
    "data": 5,
    "training": 6,
    "huggingface": 6,
    "planning": 7,
    "export": 7,
    "parity": 8,
    "evaluation": 8,
    "posttraining": 8,
    "generation": 9,
    "pretrain": 10,
    "cli": 10,
}
ROOMS_ALLOWED = {
    "deepspeed": {"model", "training"},
    "transformers": {"tokenizer", "templates", "huggingface", "export", "evaluation", "generation", "posttraining"},
}
ROOMS_FORBIDDEN = {"torch": {"config", "files", "jobs", "corpus"}}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            names.append(node.module or "")
            if node.module == "megalite":
                names += [f"megalite.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_imports_only_from_lower_floors(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for name in imported_names(path):
        top, *rest = name.split(".")
        if top == "megalite" and rest and rest[0] != here:
            assert FLOORS[rest[0]] < FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {name}"
        if top in ROOMS_ALLOWED:
            assert here in ROOMS_ALLOWED[top], f"{top} belongs to {ROOMS_ALLOWED[top]}, not to {here}"
        if top in ROOMS_FORBIDDEN:
            assert here not in ROOMS_FORBIDDEN[top], f"{here} must not import {top}"


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__"}
    assert rooms <= set(FLOORS), f"rooms without a floor: {rooms - set(FLOORS)}"


def test_contributing_lists_the_floors() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (`.*`) \|$", text, re.MULTILINE)
    assert {name.strip("`"): int(floor) for floor, names in rows for name in names.split(", ")} == FLOORS
