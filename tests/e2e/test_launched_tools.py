"""Tuning and evaluation under a launcher that is killed: no process stays, and what a tuning has learned is saved."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from chats import conversation, run_values, write_model, write_rows
from jobs import LIMIT, REPOSITORY, Job
from small_models import write_small_model

pytest.importorskip("trl")


def test_a_tuning_saves_and_ends_with_its_launcher(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    rows = write_rows(tmp_path / "chat.jsonl", [{"messages": conversation(seed)} for seed in range(40)])
    endless = {"training": {"steps": 100_000}, "checkpoint": {"every_steps": 10**6}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_values(tmp_path, model, rows, **endless)))
    job = Job(tmp_path, "torchrun", 2, script=REPOSITORY / "tools/sft.py")
    metrics = job.run / "metrics.jsonl"
    job.wait_for(lambda: metrics.is_file() and metrics.read_text().count("\n") >= 3)
    assert len(job.processes) >= 3
    job.victim("root").kill()
    job.end()
    (saved,) = job.run.glob("checkpoint-*")
    step = int(saved.name.removeprefix("checkpoint-"))
    words = f"all {step:,} steps are saved in {saved}: resume with --resume"
    assert job.sentences() == [f"megalite: stopped by the end of its launcher; {words}"], job.said()
    assert json.loads((saved / "trainer_state.json").read_text())["global_step"] == step


@pytest.fixture
def evaluation(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Of two ranks, on more text than can be read in the time of a test."""
    write_small_model(tmp_path / "model", 3)
    text = {"text": "the cat sat on a mat and saw two red birds " * 200}
    (tmp_path / "text.jsonl").write_text((json.dumps(text) + "\n") * 20_000)
    words = [str(tmp_path / "model"), "--text", str(tmp_path / "text.jsonl"), "--output", str(tmp_path / "found")]
    process = subprocess.Popen(
        ["torchrun", "--nproc-per-node", "2", str(REPOSITORY / "tools/evaluate.py"), *words],
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.wait()


def test_an_evaluation_ends_with_its_launcher(tmp_path: Path, evaluation: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT
    while not any(path.is_file() for path in tmp_path.glob("found/*/*")):
        assert evaluation.poll() is None and time.monotonic() < deadline, evaluation.communicate()
        time.sleep(0.1)
    root = psutil.Process(evaluation.pid)
    ranks = root.children(recursive=True)
    assert len(ranks) >= 2
    root.kill()
    alive = psutil.wait_procs(ranks, timeout=LIMIT)[1]
    for rank in alive:
        rank.kill()
    assert not alive
    said = evaluation.communicate()[0]
    assert said.count("megalite: stopped by the end of its launcher; run the same command again to resume") == 1, said
    assert "Traceback" not in said
