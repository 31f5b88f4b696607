"""Ranks killed while they save: what is told to do works as typed, and ends where an uninterrupted run ends, bitwise."""

import json
import os
from pathlib import Path

import pytest
import torch
from jobs import Job, write_job

from megalite.training.checkpoint.manifest import verify_files
from megalite.training.run_folder import checkpoints
from runs import records, tensors

SCRIPT = """
import os, signal
from pathlib import Path
from megalite.pretrain import main
from megalite.training.checkpoint import save as checkpoint_save
from megalite.training.checkpoint import tensor_files

where = os.environ.get("KILLED", "")  # RANK PLACE STEP

def killed_before(place, plain):
    def call(path, *rest):
        if where == f"{os.environ['RANK']} {place} {''.join(c for c in str(path).partition('step-')[2][:6])}":
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(path, *rest)
    return call

Path.rename = killed_before("rename", Path.rename)
checkpoint_save.flush = killed_before("flush", checkpoint_save.flush)
checkpoint_save.write_shard = killed_before("write", checkpoint_save.write_shard)
main()
"""
PLACES = [
    ("1 write 000003", "0 rename 000006"),
    ("0 flush 000003", "1 flush 000006"),
    ("0 write 000003", "1 write 000006"),
]
ALL = bool(os.environ.get("MEGALITE_ALL_KILLS"))


@pytest.mark.parametrize(("first", "second"), PLACES if ALL else PLACES[:1])
def test_a_run_killed_in_two_saves_ends_bitwise_like_another(tmp_path: Path, first: str, second: str) -> None:
    write_job(tmp_path, training={"steps": 8})
    (tmp_path / "killed.py").write_text(SCRIPT)

    def job(name: str, killed: str, *words: str) -> Job:
        started = Job(
            tmp_path, "torchrun", 2, *words, script=tmp_path / "killed.py", name=name, environment={"KILLED": killed}
        )
        assert (started.end() == 0) == (killed == ""), started.said()
        return started

    straight = job("straight", "").run
    died = job("cut", first)
    (told,) = died.sentences()
    assert "has died; no checkpoint was written yet: run the same command again" in told
    assert checkpoints(died.run) == [] and list(died.run.glob("step-000003.partial"))
    died = job("cut", second)
    (told,) = died.sentences()
    assert told.endswith("has died; resume from the last checkpoint with --resume")
    assert [path.name for path in checkpoints(died.run)] == ["step-000003"]
    verify_files(died.run / "step-000003")
    run = job("cut", "", "--resume").run
    assert not list(run.glob("*.partial"))
    assert [path.name for path in checkpoints(run)] == [path.name for path in checkpoints(straight)]
    assert records(run) == records(straight)
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["event"] == "train"] == list(range(1, 9)), "each step once"
    undone = [json.loads(line) for line in (run / "metrics.undone.jsonl").read_text().splitlines()]
    assert [line["step"] for line in undone if line["event"] == "train"] == [1, 2, 3, 4, 5, 6][: len(undone)]
    ends = [tensors(folder / "step-000008") for folder in (straight, run)]
    assert ends[0].keys() == ends[1].keys() and len(ends[0]) > 20
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
