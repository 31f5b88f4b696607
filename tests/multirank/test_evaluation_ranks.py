"""An evaluation does not depend on the number of processes or the batch size, and agrees with lm-eval's own command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eval_records import hub_records, write_jsonl
from small_models import write_small_model

REPOSITORY = Path(__file__).parents[2]
TASKS = ("arc_easy", "copa", "gsm8k", "lambada_openai")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    done = subprocess.run(
        list(map(str, words)), cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks")
    write_small_model(path / "model", 3)
    for name, count in zip(TASKS, (7, 9, 3, 11), strict=True):
        write_jsonl(path / f"data/{name}_test.jsonl", hub_records(name, count))
    write_jsonl(path / "text.jsonl", [{"text": record["text"]} for record in hub_records("lambada_openai", 5)])
    command(path, sys.executable, output="one", batch_size=8)
    return path


def command(path: Path, *launcher: object, output: str, batch_size: int) -> subprocess.CompletedProcess[str]:
    words = ["tools/evaluate.py", path / "model", "--tasks", *TASKS, "--data", path / "data", "--num_fewshot", 2]
    words += ["--text", path / "text.jsonl", "--batch_size", batch_size, "--output", path / output]
    return run(*launcher, *words)


def found(folder: Path) -> dict[str, dict[str, Any]]:
    (results,) = json.loads((folder / "results.json").read_text())["results"].values()
    return {name: metrics for pair in results.values() for name, metrics in pair["results"].items()}


def close(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equal up to rounding: a batch of another shape sums in another order."""
    return one.keys() == other.keys() and all(
        pytest.approx(value, rel=1e-5) == other[key] if isinstance(value, float) else value == other[key]
        for key, value in one.items()
    )


@pytest.mark.timeout(400)
def test_two_ranks_and_other_batches_find_what_one_process_finds(place: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = command(place, *launcher, output="two", batch_size=3)
    assert done.stdout.count("results.html") == 1
    written = {path: path.stat().st_mtime_ns for path in place.glob("two/*/*")}
    again = command(place, sys.executable, output="two", batch_size=8)
    assert again.stdout == done.stdout
    assert written == {path: path.stat().st_mtime_ns for path in place.glob("two/*/*")}
    one, two = found(place / "one"), found(place / "two")
    assert set(one) == {*TASKS, "text text.jsonl"}
    for name, metrics in one.items():
        assert close(metrics, two[name]), name
    items = [sorted((place / output).glob("*/*.jsonl")) for output in ("one", "two")]
    for ours, theirs in zip(*items, strict=True):
        rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in (ours, theirs)]
        assert [row.get("prompt_hash") for row in rows[0]] == [row.get("prompt_hash") for row in rows[1]]
        assert len(rows[0]) == len(rows[1]) > 2
    assert not list(place.glob("two/*/*answers*"))


@pytest.mark.timeout(400)
def test_lm_evals_own_command_on_the_written_tasks_agrees(place: Path) -> None:
    words = ["-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={place / 'model'},dtype=float32"]
    words += ["--device", "cpu", "--batch_size", "8", "--num_fewshot", "2", "--tasks", ",".join(TASKS)]
    run(sys.executable, *words, "--include_path", place / "one/tasks", "--output_path", place / "theirs")
    (file,) = (place / "theirs").rglob("results_*.json")
    theirs, ours = json.loads(file.read_text())["results"], found(place / "one")
    for name in TASKS:
        for metric, value in theirs[name].items():
            if "," in metric and "perplexity_stderr" not in metric:  # a bootstrap with another number of draws
                assert ours[name][metric] == pytest.approx(value, rel=1e-6), (name, metric)
