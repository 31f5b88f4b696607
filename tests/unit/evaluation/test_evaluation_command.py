"""``megalite evaluate``: resuming, adding models, comparing, and refusing."""

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_records import hub_records, write_jsonl
from small_models import write_small_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from megalite.evaluation import evaluate
from megalite.evaluation.bits_per_byte import bits_per_byte
from megalite.evaluation.measure import journaled_lm
from megalite.evaluation.tasks import hub

TEXTS = ["A river of stone.", "Ein Café, zwei Cafés; 猫", "lamp " * 300]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and data files."""
    path = tmp_path_factory.mktemp("evaluation")
    for seed, name in enumerate("ab"):
        write_small_model(path / name / "hf", seed)
    write_jsonl(path / "data/copa_val.jsonl", hub_records("copa", 11))
    write_jsonl(path / "data/arc_easy_test.jsonl", hub_records("arc_easy", 7))
    (path / "data/hub.yaml").write_text("{task: mine, dataset_path: nobody/nothing, output_type: loglikelihood}")
    write_jsonl(path / "text.jsonl", [{"text": text} for text in TEXTS])
    return path


@pytest.fixture
def command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command. Returns exit code, stdout and stderr."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # read when the libraries are imported, which another test may have done
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, words)])
        code = 0
        try:
            evaluate.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def values(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (row["task"], row["metric"]): row["figures"] for row in json.loads((path / "results.json").read_text())["rows"]
    }


def test_two_models_are_compared_and_nothing_is_measured_twice(
    place: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, output = str(place / "a/hf"), str(place / "b/hf"), tmp_path / "out"
    words = [
        "--tasks",
        "copa",
        "arc_easy",
        "--data",
        place / "data",
        "--text",
        place / "text.jsonl",
        "--output",
        output,
    ]
    assert command(a, *words)[0] == 0
    code, out, _ = command(a, b, *words)
    assert code == 0
    assert "difference from a" in out
    found = json.loads((output / "results.json").read_text())
    assert list(found["models"]) == [a, b]
    rows = {(row["task"], row["metric"]): row for row in found["rows"]}
    assert set(rows) == {
        ("copa", "acc"),
        ("arc_easy", "acc"),
        ("arc_easy", "acc_norm"),
        ("text text.jsonl", "bits_per_byte"),
    }
    assert rows["copa", "acc"]["chance"] == 0.5
    assert rows["arc_easy", "acc"]["items"] == 7
    for row in rows.values():
        first, second = (row["figures"][model]["value"] for model in (a, b))
        assert row["differences"][b]["value"] == pytest.approx(second - first)
        assert row["differences"][b]["error"] is not None
    for model in (a, b):
        loaded, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
        expected = bits_per_byte(loaded, tokenizer, TEXTS).bits_per_byte
        assert rows["text text.jsonl", "bits_per_byte"]["figures"][model]["value"] == pytest.approx(expected)
    page = (output / "results.html").read_text()
    assert page.count("<svg") == 4
    assert len(re.findall('class="chance"', page)) == 3
    assert not re.search(r"<script|src=|href=", page)
    monkeypatch.setattr(journaled_lm.JournaledLM, "__init__", None)  # loading a model would fail
    before = {path: path.stat().st_mtime_ns for path in output.glob("*/*.json*")}
    assert command(a, b, *words)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in output.glob("*/*.json*")}
    code, _, err = command(a, *words, "--limit", "3")
    assert code == 2
    assert "was measured with limit=None, not 3; choose another --output" in err


def test_a_killed_task_resumes_with_the_remaining_questions(
    place: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [place / "a/hf", "--tasks", "arc_easy", "--data", place / "data", "--batch_size", "1"]
    assert command(*words, "--output", tmp_path / "whole")[0] == 0
    answered: list[int] = []
    honest = journaled_lm.HFLM.loglikelihood

    def dying(self: Any, requests: Any, disable_tqdm: bool = False) -> Any:
        if answered and len(answered) == 1:
            raise KeyboardInterrupt
        answered.append(len(requests))
        return honest(self, requests, disable_tqdm)

    monkeypatch.setattr(journaled_lm.HFLM, "loglikelihood", dying)
    assert command(*words, "--output", tmp_path / "killed")[0] == 130
    assert not list((tmp_path / "killed").glob("*/arc_easy.json"))
    assert len(list((tmp_path / "killed").glob("*/arc_easy.answers-0.jsonl"))) == 1
    answered.append(0)
    assert command(*words, "--output", tmp_path / "killed")[0] == 0
    assert answered[0] == 8
    assert sum(answered) == 28  # 7 items of 4 choices, each asked once
    assert values(tmp_path / "killed") == values(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob("*/*answers*"))


def test_one_file_holds_lm_evals_metrics(
    place: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    words = [place / "a/hf", "--tasks", "copa", "--data", place / "data"]
    code, out, _ = command(*words, "--output", tmp_path / "x.json")
    assert code == 0
    assert "copa" in out
    assert 0 <= json.loads((tmp_path / "x.json").read_text())["copa"]["acc,none"] <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    code, _, err = command(place / "b/hf", *words, "--output", tmp_path / "y.json")
    assert (code, "a file holds one model" in err) == (2, True)


def test_questions_longer_than_the_model_sees_are_counted(
    place: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    connectors = {"cause": "because", "effect": "therefore"}
    lengths = [
        len(f"{record['premise'][:-1]} {connectors[record['question']]}  {record[choice]}")
        for record in hub_records("copa", 11)
        for choice in ("choice1", "choice2")
    ]
    sees = sorted(lengths)[11] - 1
    model = write_small_model(tmp_path / "short", 0, sees)
    code, out, _ = command(model, "--tasks", "copa", "--data", place / "data")
    assert code == 0
    cut = sum(length > sees + 1 for length in lengths)  # the last token is predicted, not seen
    assert 0 < cut < 22
    assert f"{cut} of 22 questions lost their beginning: the model's context is {sees} tokens" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{a}", "--tasks", "piqa", "--data", "{data}"], "no data file of 'piqa'"),
        (["{a}", "--tasks", "piqa", "--data", "{data}/none"], "no such folder"),
        (["{a}", "--tasks", "{data}/hub.yaml"], "--tasks mine: its data is on the hub, which does not answer"),
        (["{a}", "--tasks", "copa", "--data", "{data}", "--limit", "0"], "--limit 0: give at least 1"),
        (
            ["{a}", "--tasks", "copa", "--data", "{data}", "--batch_size", "many"],
            "--batch_size many: give at least 1, or auto",
        ),
        (
            ["{a}", "--tasks", "copa", "--data", "{data}", "--apply_chat_template"],
            "its tokenizer has no chat template; remove --apply_chat_template",
        ),
        (["{a}"], "nothing to measure: give --tasks, --text or both"),
        (["{data}", "--tasks", "copa", "--data", "{data}"], "is not a model folder (it contains no config.json)"),
        (["nobody/nothing", "--tasks", "copa", "--data", "{data}"], "nobody/nothing: cannot be loaded: "),
        (["{a}", "--text", "{data}/none.jsonl"], "no file matches"),
        (["{a}", "--tasks", "gsm8k", "--data_file", "gsm8k"], "--data_file gsm8k: give NAME=FILE"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(
    place: Path, command: Callable[..., tuple[int, str, str]], words: list[str], message: str
) -> None:
    code, _, err = command(*(word.format(a=place / "a/hf", data=place / "data") for word in words))
    assert code == 2
    assert message in err
    assert [line for line in err.splitlines() if "megalite: error:" in line] == [err.splitlines()[-1]]


def test_a_generating_task_needs_a_model_with_room(
    place: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    write_jsonl(tmp_path / "gsm8k_test.jsonl", hub_records("gsm8k", 6))
    model = write_small_model(tmp_path / "short", 0, sees=200)
    code, _, err = command(model, "--tasks", "gsm8k", "--data", tmp_path)
    assert (code, "--tasks gsm8k: generates up to 256 tokens, but the model's context is 200; leave it out" in err) == (
        2,
        True,
    )


def test_an_unreachable_hub_is_detected_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    monkeypatch.setattr(hub.urllib.request, "urlopen", lambda *_, **__: time.sleep(2) or io.BytesIO())
    start = time.monotonic()
    assert not hub.hub_answers()
    assert time.monotonic() - start < 3
    monkeypatch.setattr(hub.urllib.request, "urlopen", lambda *_, **__: io.BytesIO())
    assert hub.hub_answers()
