"""Rows made from docstrings say what the source says."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from megalite.config.errors import ConfigError, DataError
from megalite.posttraining.rows.chat import conversations
from megalite.posttraining.rows.docstrings import functions_of, make_rows
from megalite.posttraining.rows.preference import pairs, questions

SOURCE = '''
def add(a, b=1, *more, key=None, **rest):
    """Give the sum of all the numbers
    that are handed over.

    More text.
    """

def _private(a):
    """This one is not public, so that nobody asks."""

def brief(a):
    """Short."""
'''


def test_a_docstrings_first_paragraph_is_the_answer(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(SOURCE)
    (found,) = functions_of(tmp_path / "m.py", "m")
    assert found.answer == "Give the sum of all the numbers that are handed over."
    assert (found.signature, found.parameters) == ("add(a, b=1, *more, key=None, **rest)", 5)


def test_rows_parse_and_no_answer_is_in_both_splits(tmp_path: Path) -> None:
    console = Console(file=StringIO())
    make_rows(tmp_path / "rows", 100, console)
    found = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "rows").iterdir()
    }
    assert sorted(found) == [
        f"{kind}-{split}" for kind in ("chats", "pairs", "questions") for split in ("train", "valid")
    ]
    said = {
        split: {conversations(row)[0][-1]["content"] for row in found[f"chats-{split}"]} for split in ("train", "valid")
    }
    assert all(said.values()) and len(said["train"]) + len(said["valid"]) == 100 and not said["train"] & said["valid"]
    for row in found["pairs-train"]:
        (pair,) = pairs(row)
        assert sorted(pair["chosen"][0]["content"].split()) == sorted(pair["rejected"][0]["content"].split())
    for row in found["questions-train"]:
        (question,) = questions(row)
        assert question["solution"].startswith("#### ")
    with pytest.raises(DataError, match="exists; choose another --output"):
        make_rows(tmp_path / "rows", 100, console)
    with pytest.raises(ConfigError, match="give at least 1"):
        make_rows(tmp_path / "none", 0, console)
