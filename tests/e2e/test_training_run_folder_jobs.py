"""Real commands on one run folder: two at once, a resume that is refused, changes, adopted data, a changed file."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from jobs import LIMIT, Job, write_job, write_yaml

from megalite.parity.launch import free_port
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.run_folder import checkpoints
from runs import write_data


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(job: Job) -> str:
    """The one line of a command that was a mistake."""
    assert job.end() == 2, job.said()
    (line,) = job.sentences()
    assert "Traceback" not in job.said()
    return line


def test_adopted_data_is_refused_once_it_has_changed(tmp_path: Path) -> None:
    write_data(tmp_path)
    adopt = [sys.executable, "-c", "from megalite.cli import main; main()", "adopt"]
    words = [str(tmp_path / "train"), "--tokenizer", str(tmp_path / "tokenizer"), "--no_eod"]
    subprocess.run([*adopt, *words], check=True, timeout=LIMIT, capture_output=True)
    write_yaml(tmp_path, training={"steps": 2}, schedule={"warmup_steps": 1})
    trained = Job(tmp_path, "python", 1)
    assert trained.end() == 0, trained.said()
    assert [path.name for path in checkpoints(trained.run)] == ["step-000002"]

    with (tmp_path / "train.bin").open("r+b") as file:
        file.seek(9000)  # far from what was read
        (byte,) = file.read(1)
        file.seek(9000)
        file.write(bytes([byte ^ 1]))
    before = contents(trained.run)
    told = (
        f"megalite: error: {tmp_path / 'train.bin'}: differs from its checksum in {tmp_path / 'train.manifest.json'}; "
    )
    assert refused(Job(tmp_path, "python", 1, "--resume", "training.steps=4")).startswith(told)
    assert contents(trained.run) == before, "a failed resume changes nothing"
    started = Job(tmp_path, "python", 1, name="another")
    assert refused(started).startswith(told)
    assert not started.run.exists()


def test_the_second_of_two_resumes_changes_nothing(tmp_path: Path) -> None:
    write_job(tmp_path, data={"max_epochs": 10**6})
    first = Job(tmp_path, "torchrun", 2, "training.steps=3")
    assert first.end() == 0, first.said()
    saved = contents(first.run / "step-000003")
    endless = ["training.steps=100000", "checkpoint.every_steps=1000000", "optimizer.lr=5e-3", "--resume"]
    two = [Job(tmp_path, "python", 1, *endless) for _ in range(2)]
    deadline = time.monotonic() + LIMIT
    while all(one.process.poll() is None for one in two) and time.monotonic() < deadline:
        time.sleep(0.05)
    loser, winner = sorted(two, key=lambda one: one.process.poll() is None)
    assert f"the job of process {winner.process.pid} on " in (line := refused(loser)), line
    assert "(1 rank, since " in line and "uses this run folder; wait until it ends, or choose another name" in line
    winner.wait_for_step(5)
    assert contents(first.run / "step-000003") == saved
    run_yaml = yaml.safe_load((first.run / "run.yaml").read_text())
    assert run_yaml["optimizer"]["lr"] == 5e-3

    refused_again = Job(tmp_path, "python", 1, *endless[:3], "optimizer.lr=0.1", "--resume")
    assert f"process {winner.process.pid}" in refused(refused_again)
    assert yaml.safe_load((first.run / "run.yaml").read_text()) == run_yaml
    (first.run / ".ranks/stop").touch()
    assert winner.end() == 138, winner.said()
    newest = checkpoints(first.run)[-1]
    assert winner.sentences() == [
        f"megalite: stopped by the file {first.run / '.ranks/stop'}; all "
        f"{int(newest.name.removeprefix('step-')):,} steps are saved in {newest}: resume with --resume"
    ]
    verify_files(newest)
    lines = [json.loads(line) for line in (first.run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["event"] == "train"]
    assert steps == sorted(set(steps)) and steps[:4] == [1, 2, 3, 4]
    told = [line["text"] for line in lines if line["event"] == "change"]
    assert told == [
        "the number of ranks was 2 and is now 1",
        "optimizer.lr was 0.01 and is now 0.005",
        "training.steps was 3 and is now 100000",
        "checkpoint.every_steps was 3 and is now 1000000",
    ]
    assert all(" ".join(winner.said().split()).count(line) == 1 for line in told)

    before = contents(first.run)
    words = ["--resume", "training.steps=200000", "run.seed=6"]
    assert "has run.seed=5, the config has 6; make them equal to resume" in refused(Job(tmp_path, "python", 1, *words))
    assert contents(first.run) == before


def own_namespace() -> list[str]:
    """Command that runs another one as a container does: its process ids, and its /proc, are its own."""
    for rights in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *rights, "--pid", "--fork", "--mount-proc", "--kill-child"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, timeout=60).returncode == 0:
                return command
        except FileNotFoundError:
            pass
    pytest.skip("this user may not make PID namespaces (unshare --pid)")


def test_ranks_in_containers_do_not_look_dead(tmp_path: Path) -> None:
    write_job(tmp_path)
    around = own_namespace()
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    place["MASTER_PORT"] = str(free_port())
    # Behind a shell that has started 500 others: the other rank, and all its threads, have smaller numbers.
    later = [*around, "sh", "-c", 'for i in $(seq 500); do /bin/true; done; "$@"; exit $?', "sh"]
    ranks = [
        Job(tmp_path, "python", 2, around=command, environment=place | {"RANK": str(rank)})
        for rank, command in enumerate((around, later))
    ]
    assert [rank.end() for rank in ranks] == [0, 0], "".join(rank.said() for rank in ranks)
    assert [path.name for path in checkpoints(tmp_path / "test")] == ["step-000003", "step-000006"]
