"""Untrusted task files run no code, and whatever lm-eval would silently drop is an error."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from damage import change_tensors, copied
from eval_records import evaluate, hub_records, write_jsonl
from small_models import write_small_model

from megalite.config.errors import ConfigError, DataError
from megalite.evaluation.tasks.data_files import LocalData
from megalite.evaluation.tasks.load import load_tasks
from megalite.evaluation.tasks.request import check_task_names, request_tasks
from megalite.evaluation.tasks.task_file import read_task
from megalite.templates import render

ITEMS: list[dict[str, Any]] = [{"q": "The river", "choices": ["stone", "lamp"], "gold": n % 2} for n in range(4)]
TASK: dict[str, Any] = {
    "task": "mine",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_target": "{{gold}}",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model") / "hf", seed=0)


@pytest.fixture
def measured(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, dict[str, Any]]]:
    """Evaluates a task file with these keys on these items."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(items: list[dict[str, Any]] = ITEMS, text: str = "", **keys: Any) -> dict[str, dict[str, Any]]:
        (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        values = {key: value for key, value in (TASK | keys).items() if value is not ...}
        (tmp_path / "mine.yaml").write_text(text or yaml.safe_dump(values))
        return evaluate(model, tmp_path / "mine.yaml")

    return run


def test_a_sound_task_is_measured(measured: Callable[..., Any], tmp_path: Path) -> None:
    assert 0 <= measured()["mine"]["acc,none"] <= 1
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(TASK))
    assert measured(text="include: base.yaml\ntask: another\n")["another"]["acc,none"] == measured()["mine"]["acc,none"]


OUT = "{{ cycler.__init__.__globals__.os.system('touch MARK') }}"


@pytest.mark.parametrize("key", ["doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix"])
def test_a_template_reaches_nothing(measured: Callable[..., Any], tmp_path: Path, key: str) -> None:
    with pytest.raises(DataError, match=r"cycler.*unsafe") as refused:
        measured(**{key: OUT.replace("MARK", str(tmp_path / "mark"))})
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "mark").exists()


def test_a_template_without_end_is_ended(measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "SECONDS", 0.5)
    monkeypatch.setattr(render, "_workers", [])
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(DataError, match=r"takes more than 0\.5 seconds"):
        measured(doc_to_text=loop)


def test_functions_run_only_from_a_folder_that_was_named(model: Path, tmp_path: Path) -> None:
    folder, mark = tmp_path / "tasks", tmp_path / "mark"
    folder.mkdir()
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'a').close()\n\ndef text(doc):\n    return doc['q']\n")
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    files = {"data_files": {"test": str(folder / "items.jsonl")}}
    spelt = yaml.safe_dump(TASK | {"doc_to_text": "FUNCTION", "dataset_kwargs": files})
    (folder / "mine.yaml").write_text(spelt.replace("FUNCTION", "!function own.text"))
    with pytest.raises(DataError, match=r"'!function .*runs Python code.*--include_path"):
        evaluate(model, folder / "mine.yaml")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.yaml").write_text(f"include: {folder / 'mine.yaml'}\n")
    asked, manager = request_tasks(["mine"], include_path=str(outside))
    with pytest.raises(DataError, match=r"'!function own.text' runs Python code"):
        load_tasks(asked[0], manager)
    assert not mark.exists()
    asked, manager = request_tasks(["mine"], include_path=str(folder))
    assert list(load_tasks(asked[0], manager)["tasks"]) == ["mine"] and mark.exists()


def test_a_foreign_file_among_the_written_tasks_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "data/copa_val.jsonl", hub_records("copa", 3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.yaml").write_text("task: copa\ndoc_to_text: !function os.getcwd\n")
    with pytest.raises(DataError, match=r"a\.yaml: also defines 'copa'"):
        request_tasks(["copa"], LocalData([tmp_path / "data"]), written=tmp_path / "out")


METRIC = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"doc_to_txt": "x"}, "unknown key 'doc_to_txt'; did you mean 'doc_to_text'"),
    "an output type": ({"output_type": "guess"}, "unknown output_type 'guess'"),
    "a metric": ({"metric_list": [METRIC | {"metric": "accuracy"}]}, "unknown metric 'accuracy'"),
    "a metric of another type": ({"metric_list": [METRIC | {"metric": "bleu"}]}, "unknown metric for multiple_choice"),
    "a metric of the hub": ({"metric_list": [METRIC | {"hf_evaluate": True}]}, "loads code from the hub"),
    "an aggregation": ({"metric_list": [METRIC | {"aggregation": "meen"}]}, "unknown aggregation 'meen'; did you mean"),
    "no metric": ({"metric_list": [{}]}, "unknown metric 'None'"),
    "metrics in words": ({"metric_list": "acc"}, "metric_list is text"),
    "a filter": ({"filter_list": [{"name": "x", "filter": [{"function": "y"}]}]}, "unknown filter 'y'"),
    "a filter in words": ({"filter_list": "regex"}, "filter_list is text"),
    "a class": ({"class": "x"}, "has a key 'class'"),
    "a group": ({"group": "x"}, "has a key 'group'"),
    "a prompt of others": ({"use_prompt": "promptsource:x"}, "unknown key 'use_prompt'"),
    "no name": ({"task": ...}, "'task' is nothing"),
    "a name in brackets": ({"task": ["x"]}, "'task' is a list"),
    "a column": ({"doc_to_text": "{{question}}"}, "'question' is undefined"),
    "a split": ({"test_split": "nowhere"}, "nowhere"),
    "no split": ({"test_split": ...}, "cannot be loaded as a task"),
    "data set in a list": ({"dataset_path": ["json"]}, "dataset_path is a list"),
    "data in words": ({"dataset_kwargs": "items.jsonl"}, "dataset_kwargs is text"),
    "data in numbers": ({"dataset_kwargs": {"data_files": 3}}, "3 is not a file name"),
    "a template that is none": ({"doc_to_text": "{{q"}, "cannot be loaded as a task"),
    "choices that are none": ({"doc_to_choice": "[1, 2"}, "cannot be loaded as a task"),
    "choices in numbers": ({"doc_to_choice": "{{[1, 2]}}"}, "mine"),
    "generation in words": ({"generation_kwargs": "x"}, "generation_kwargs is text"),
    "an include": ({"include": "none.yaml"}, "no such task file"),
    "an include of itself": ({"include": "mine.yaml"}, "includes itself"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_lm_eval_would_drop_is_refused(measured: Callable[..., Any], case: tuple[dict[str, Any], str]) -> None:
    keys, message = case
    with pytest.raises((DataError, ConfigError, FileNotFoundError)) as refused:
        measured(**keys)
    assert message in str(refused.value) and "\n" not in str(refused.value)


ANSWERS: dict[str, Any] = {"too large": 2, "negative": -1, "a word": "cup", "nothing": None}


@pytest.mark.parametrize("gold", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_no_choice_is_refused(measured: Callable[..., Any], gold: Any) -> None:
    items = [*ITEMS, ITEMS[0] | {"gold": gold}] if gold != "cup" else [i | {"gold": "cup"} for i in ITEMS]
    with pytest.raises(DataError, match=r"is not one of its 2 choices|cannot be loaded"):
        measured(items)


@pytest.mark.parametrize("choices", [[], ["", "lamp"]])
def test_empty_choices_are_refused(measured: Callable[..., Any], choices: list[str]) -> None:
    with pytest.raises(DataError, match=r"give a list of non-empty strings|cannot be loaded"):
        measured([*ITEMS, ITEMS[0] | {"choices": choices}])


@pytest.mark.parametrize(
    "text", ["null", "[]", "3", "a: b: c", "task: !!python/object:os.x {}", "{1: 2, task: x}", "task: x\ntask: y"]
)
def test_a_damaged_task_file_is_one_line(measured: Callable[..., Any], text: str) -> None:
    with pytest.raises((DataError, ConfigError)) as refused:
        measured(text=text)
    assert "\n" not in str(refused.value) and "mine.yaml" in str(refused.value)


def test_an_include_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--include_path .*none: no such folder"):
        request_tasks(["x"], include_path=str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"contains no task file"):
        request_tasks(["x"], include_path=str(tmp_path))


def test_errors_are_resampled_without_a_fork(measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.Pool", lambda *_: pytest.fail("a fork beside torch's threads"))
    measured(output_type="loglikelihood", doc_to_choice=..., doc_to_target=" {{choices[0]}}", metric_list=...)
    assert "DISABLE_MULTIPROC" not in os.environ


def test_figures_that_are_no_numbers_are_refused(model: Path, tmp_path: Path, measured: Callable[..., Any]) -> None:
    from megalite.evaluation.bits_per_byte import bits_per_byte
    from megalite.huggingface.load import load_model

    measured(output_type="loglikelihood", doc_to_choice=..., doc_to_target=" {{choices[0]}}", metric_list=...)
    huge = copied(model, tmp_path / "huge", change_tensors(lambda t: t["model.norm.weight"].fill_(3e38)))
    with pytest.raises(DataError, match=r"nan|inf|not finite"):
        bits_per_byte(*load_model(str(huge)), ["The river"])
    task = TASK | {"output_type": "loglikelihood", "doc_to_target": " {{choices[0]}}"}
    del task["doc_to_choice"], task["metric_list"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task))
    with pytest.raises(DataError, match=r"nan|inf|not finite"):
        evaluate(huge, tmp_path / "mine.yaml")


def test_data_files_are_found_beside_the_task_in_every_form(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("{}\n")
    a, b = str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    for given, expected in (
        ("a.jsonl", a),
        (["a.jsonl", "b.jsonl"], [a, b]),
        ({"test": "a.jsonl", "train": ["b.jsonl"]}, {"test": a, "train": [b]}),
    ):
        (tmp_path / "t.yaml").write_text(yaml.safe_dump({"task": "t", "dataset_kwargs": {"data_files": given}}))
        assert read_task(tmp_path / "t.yaml")["dataset_kwargs"]["data_files"] == expected
    for given, message in ((5, "data_files: 5 is not a file name"), ("empty.jsonl", "is empty; there is nothing")):
        (tmp_path / "empty.jsonl").touch()
        (tmp_path / "t.yaml").write_text(yaml.safe_dump({"task": "t", "dataset_kwargs": {"data_files": given}}))
        with pytest.raises(DataError, match=message):
            read_task(tmp_path / "t.yaml")


def test_an_unknown_task_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    manager = SimpleNamespace(all_tasks=["arc_easy", "blimp"])
    check_task_names(["blimp"], manager)
    with pytest.raises(DataError, match="--tasks arc_esay: lm-eval has no such task; did you mean 'arc_easy'"):
        check_task_names(["arc_esay"], manager)


def test_a_file_that_is_not_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such task file"):
        read_task(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(DataError, match="is not an lm-eval task"):
        read_task(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"task": "x", "dataset_kwargs": {"data_files": {"test": "y"}}}))
    with pytest.raises(FileNotFoundError, match=r"data_files\.test: .*y does not exist"):
        read_task(tmp_path / "x.yaml")
