"""One job at a time in a run folder: who is refused, who may take over, and what is left."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from megalite.config.errors import ConfigError
from megalite.training import run_lock
from megalite.training.run_lock import LOCK, STALE_SECONDS, locked_run

HOLDER = """
import sys
from pathlib import Path
from megalite.training.run_lock import locked_run
with locked_run(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_job_is_told_who_is_at_work_and_changes_nothing(tmp_path: Path, holder: Any) -> None:
    before = (tmp_path / "run" / LOCK).read_bytes()
    with (
        pytest.raises(ConfigError, match=rf"process {holder.pid} on .*\(1 rank, since \d{{4}}-.*uses this run folder"),
        locked_run(tmp_path / "run", print),
    ):
        pass
    assert (tmp_path / "run" / LOCK).read_bytes() == before
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_the_lock_of_a_killed_job_is_taken_over_at_once(tmp_path: Path, holder: Any) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with locked_run(tmp_path / "run", print):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()


def test_nothing_is_left_of_a_job_that_has_made_nothing(tmp_path: Path) -> None:
    with locked_run(tmp_path / "runs" / "run", print):
        pass
    assert not (tmp_path / "runs").exists()
    with locked_run(tmp_path / "runs" / "run", print):
        (tmp_path / "runs" / "run" / "run.yaml").touch()
    assert [path.name for path in (tmp_path / "runs" / "run").iterdir()] == ["run.yaml"]


@pytest.mark.parametrize("silent", [False, True])
def test_another_machines_lock_stands_until_it_has_been_silent(tmp_path: Path, silent: bool) -> None:
    owner = run_lock._signature() | {"boot": "another", "space": "another", "host": "node-2", "ranks": 8}
    (tmp_path / LOCK).write_text(json.dumps(owner))
    touched = time.time() - (STALE_SECONDS + 60 if silent else 0)
    os.utime(tmp_path / LOCK, (touched, touched))
    if silent:
        with locked_run(tmp_path, print):
            pass
        return
    with pytest.raises(ConfigError, match=r"on node-2 \(8 ranks"), locked_run(tmp_path, print):
        pass
    assert json.loads((tmp_path / LOCK).read_text()) == owner


def test_without_flock_the_process_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Any) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(run_lock.fcntl, "flock", no_locks)
    with pytest.raises(ConfigError, match=f"process {holder.pid}"), locked_run(tmp_path / "run", print):
        pass
    holder.kill()
    holder.wait()
    with locked_run(tmp_path / "run", print):
        pass


def test_who_has_lost_the_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    told: list[str] = []
    with locked_run(tmp_path, told.append):
        (tmp_path / LOCK).unlink()
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told == [f"the loss of {tmp_path / LOCK}, which another job has taken"]
