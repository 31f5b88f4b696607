"""A damaged evaluation folder is refused in one line, whichever file is damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from megalite.config.errors import DataError
from megalite.evaluation.evaluation_folder import EvaluationFolder
from megalite.evaluation.measure.journal import Journal

FACTS: dict[str, Any] = {"fingerprint": "0123456789", "source": "hub", "files": {}, "notes": []}
RESULT: dict[str, Any] = {key: {} for key in ("results", "group_subtasks", "higher_is_better", "n-shot", "chance")}
BROKEN = [b"[]", b"null", b"", b"3", b'{"options": {}', b"\xff\xfe", b'{"a": NaN}', b"{}"]


@pytest.fixture
def folder(tmp_path: Path) -> EvaluationFolder:
    found = EvaluationFolder(tmp_path / "out", {"limit": None})
    found.add("models", "a", dict(FACTS))
    found.add("tasks", "t", dict(FACTS))
    found.save()
    found.finish("a", "t", RESULT | {"notes": []}, [{"task": "t", "filter": "none", "acc": 1.0}])
    return found


@pytest.mark.parametrize("content", BROKEN)
def test_a_damaged_state_is_refused(folder: EvaluationFolder, content: bytes) -> None:
    (folder.path / "evaluation.json").write_bytes(content)
    with pytest.raises(DataError, match=r"evaluation\.json"):
        EvaluationFolder(folder.path, {})


@pytest.mark.parametrize("kind", ["models", "tasks"])
@pytest.mark.parametrize("facts", [None, [], {}, {"fingerprint": 3}])
def test_models_and_tasks_without_a_fingerprint_are_refused(folder: EvaluationFolder, kind: str, facts: Any) -> None:
    path = folder.path / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {kind: {"a": facts}}))
    with pytest.raises(DataError, match=r"has no fingerprint"):
        EvaluationFolder(folder.path, {})


@pytest.mark.parametrize("content", BROKEN)
def test_damaged_figures_are_refused(folder: EvaluationFolder, content: bytes) -> None:
    next(folder.path.glob("a-*/t.json")).write_bytes(content)
    with pytest.raises(DataError, match=r"t\.json"):
        folder.result("a", "t")


@pytest.mark.parametrize("line", [b"[]", b"null", b'{"task": 3}', b"{", b"\xff"])
def test_damaged_items_are_refused(folder: EvaluationFolder, line: bytes) -> None:
    path = next(folder.path.glob("a-*/t.jsonl"))
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"t\.jsonl:2: damaged"):
        folder.items("a", "t")


@pytest.mark.parametrize("line", [b"[]", b"null", b"[1, 2]", b'["a"]', b"{", b"\xff"])
def test_a_damaged_journal_is_refused_and_a_partial_line_dropped(tmp_path: Path, line: bytes) -> None:
    journal = Journal(tmp_path / "pair")
    journal.add([("key", [1.0, False])])
    file = next(tmp_path.glob("pair.answers-0.jsonl"))
    whole = file.read_bytes()
    file.write_bytes(whole + b'["cut", [')
    assert Journal(tmp_path / "pair").answers == {"key": [1.0, False]}
    file.write_bytes(whole + line + b"\n")
    with pytest.raises(DataError, match=r"answers-0\.jsonl:2: damaged"):
        Journal(tmp_path / "pair")


def test_only_a_folder_without_answers_is_discarded(folder: EvaluationFolder) -> None:
    before = sorted(folder.path.rglob("*"))
    folder.discard_if_empty()
    assert sorted(folder.path.rglob("*")) == before
    new = EvaluationFolder(folder.path.with_name("new"), {})
    new.add("models", "a", dict(FACTS))
    new.save()
    new.discard_if_empty()
    assert not new.path.exists()
