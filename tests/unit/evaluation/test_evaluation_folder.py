"""What an evaluation stores on disk and resumes from."""

from pathlib import Path

import pytest

from megalite.config.errors import ConfigError, DataError
from megalite.evaluation.evaluation_folder import EvaluationFolder
from megalite.evaluation.fingerprint import model_fingerprint
from megalite.evaluation.measure.journal import Journal
from megalite.evaluation.measure.text_task import text_tasks

FACTS = {"fingerprint": "0123456789abcdef"}


def test_a_journal_is_read_again_up_to_its_last_whole_line(tmp_path: Path) -> None:
    Journal(tmp_path / "t", 0).add([("a", -1.5), ("b", ["x", True])])
    Journal(tmp_path / "t", 1).add([("c", float("-inf"))])
    Journal(tmp_path / "t.more", 0).add([("d", 1)])
    file = tmp_path / "t.answers-0.jsonl"
    file.write_bytes(file.read_bytes() + b'["half", 1')
    journal = Journal(tmp_path / "t", 0)
    assert journal.answers == {"a": -1.5, "b": ["x", True], "c": float("-inf")}
    journal.add([("e", 2)])
    assert Journal(tmp_path / "t", 0).answers == journal.answers
    journal.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["t.more.answers-0.jsonl"]
    assert Journal().answers == {}


def test_a_half_line_alone_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.answers-0.jsonl").write_bytes(b'["half')
    journal = Journal(tmp_path / "t")
    assert journal.answers == {}
    journal.add([("a", 1)])
    assert (tmp_path / "t.answers-0.jsonl").read_bytes() == b'["a", 1]\n'


def test_a_folder_accepts_more_models_but_no_other_options(tmp_path: Path) -> None:
    path = tmp_path / "out"
    folder = EvaluationFolder(path, {"limit": None})
    folder.add("models", "runs/a/hf", FACTS)
    folder.add("tasks", "copa", FACTS)
    folder.save()
    assert not folder.finished("runs/a/hf", "copa")
    item = {"task": "copa", "filter": "none", "doc_id": 0}
    folder.finish("runs/a/hf", "copa", {"results": {}}, [item])
    again = EvaluationFolder(path, {"limit": None})
    again.add("models", "runs/a/hf", FACTS)
    again.add("models", "runs/b/hf", {"fingerprint": "f" * 64})
    assert again.finished("runs/a/hf", "copa")
    assert not again.finished("runs/b/hf", "copa")
    assert again.items("runs/a/hf", "copa") == [item]
    with pytest.raises(ConfigError, match=r"was measured with limit=None, not 5; choose another --output"):
        EvaluationFolder(path, {"limit": 5})
    with pytest.raises(ConfigError, match="copa: has changed since it was measured"):
        again.add("tasks", "copa", {"fingerprint": "other"})


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="exists and is not an evaluation"):
        EvaluationFolder(tmp_path, {})
    with pytest.raises(DataError, match="is a file"):
        EvaluationFolder(tmp_path / "mine.txt", {})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/evaluation.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        EvaluationFolder(tmp_path / "broken", {})


def test_a_fingerprint_covers_weights_and_tokenizer_not_the_card(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json", "README.md"):
        (tmp_path / name).write_text(name)
    first = model_fingerprint(str(tmp_path))
    (tmp_path / "README.md").write_text("other")
    assert model_fingerprint(str(tmp_path)) == first
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("other")
        assert model_fingerprint(str(tmp_path)) != first
        first = model_fingerprint(str(tmp_path))


def test_texts_are_called_by_what_tells_them_apart() -> None:
    assert [task.name for task in text_tasks(["a/x.jsonl", "b/y.jsonl"], "text", None)] == [
        "text x.jsonl",
        "text y.jsonl",
    ]
    assert [task.name for task in text_tasks(["a/x", "b/x", "a/x"], "text", None)] == ["text a/x", "text b/x"]
