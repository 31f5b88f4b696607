"""Jobs under real launchers, ended or killed at each level: no process stays, what was trained is saved, one sentence."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from jobs import Job, write_job

from megalite.training.run_folder import checkpoints

ALL = bool(os.environ.get("MEGALITE_ALL_KILLS"))
"""Whether every case is tried, and not the most telling alone; about ten minutes."""
ENDLESS: dict[str, dict[str, Any]] = {
    "training": {"steps": 100_000},
    "checkpoint": {"every_steps": 10**6},
    "logging": {"every_steps": 1000},
    "data": {"max_epochs": 10**6},
}
TELLING = [
    ("deepspeed", "root", "SIGTERM"),
    ("deepspeed", "launch", "SIGKILL"),
    ("torchrun", "root", "SIGKILL"),
    ("torchrun", "rank 1", "SIGUSR1"),
    ("torchrun", "rank 0", "SIGKILL"),
    ("python", "rank 0", "SIGINT"),
]
EVERY = [
    *(
        (launcher, victim, sent)
        for launcher, levels in {"deepspeed": ("root", "launch"), "torchrun": ("root",), "python": ()}.items()
        for victim in (*levels, "rank 0", "rank 1")
        for sent in ("SIGTERM", "SIGKILL", "SIGUSR1", "SIGINT")
        if (launcher, victim) != ("python", "rank 1")
        if victim.startswith("rank") or sent in ("SIGTERM", "SIGKILL", "SIGINT")
    )
]
NAMES = {"SIGTERM": "SIGTERM", "SIGUSR1": "SIGUSR1", "SIGINT": "Ctrl-C"}


@pytest.mark.parametrize(("launcher", "victim", "sent"), EVERY if ALL else TELLING)
def test_no_process_outlives_a_job_that_is_ended(tmp_path: Path, launcher: str, victim: str, sent: str) -> None:
    write_job(tmp_path, **ENDLESS)
    job = Job(tmp_path, launcher, 1 if launcher == "python" else 2)
    job.wait_for_step(3)
    number = signal.Signals[sent]
    job.victim(victim).send_signal(number)
    code = job.end()
    said, saved = job.sentences(), checkpoints(job.run)
    is_a_rank = victim.startswith("rank")
    if is_a_rank and sent == "SIGKILL":
        assert saved == []
        if launcher != "python":
            assert len(said) == 1 and said[0].startswith(f"megalite: error: {victim} ("), said
            assert said[0].endswith("has died; no checkpoint was written yet: run the same command again")
        assert code != 0
        return
    assert len(saved) == 1, job.said()
    assert len(said) == 1, job.said()
    words = f"all {int(saved[0].name.removeprefix('step-')):,} steps are saved in {saved[0]}: resume with --resume"
    assert said[0].endswith(words)
    if is_a_rank:
        assert said[0] == f"megalite: stopped by {NAMES[sent]}; {words}"
    if launcher == "python":
        assert code == 128 + number
    assert code != 0 or (launcher, victim, sent) == ("deepspeed", "launch", "SIGKILL"), "its runner then exits with 0"
    assert not (job.run / ".ranks").exists() and not (job.run / ".lock").exists()
    assert "Traceback" not in "".join(line for line in job.said().splitlines() if line.startswith("[rank"))


AT_ONCE = [("deepspeed", "root", 3), ("torchrun", "root", 2), ("deepspeed", "launch", 3)]


@pytest.mark.parametrize(("launcher", "victim", "children"), AT_ONCE if ALL else AT_ONCE[:1])
def test_ranks_end_that_find_their_launcher_dead_when_they_start(
    tmp_path: Path, launcher: str, victim: str, children: int
) -> None:
    write_job(tmp_path, **ENDLESS)
    job = Job(tmp_path, launcher, 2)
    job.wait_for(lambda: len(psutil.Process(job.process.pid).children(recursive=True)) >= children)
    job.victim(victim).kill()
    job.end()
    (said,) = job.sentences()
    assert said in (
        "megalite: stopped: its launcher has ended already",
        "megalite: stopped by the end of its launcher; run the same command again to resume",
    )
    assert not job.run.exists(), "nothing was begun"
