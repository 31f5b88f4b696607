import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
POOL = """
import os, sys, time
from pathlib import Path
from megalite.config.errors import one_line_errors
from megalite.jobs.process_pool import WorkerPool

def work(number):
    Path(f"started-{os.getpid()}").touch()
    time.sleep(600)

@one_line_errors
def main():
    with WorkerPool(2) as pool:
        list(pool.map(work, range(4)))

if __name__ == "__main__":
    Path("begun").touch()
    main()
"""


def wait_for(found: object, process: subprocess.Popen[str]) -> None:
    while not found():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize("whom", ["the whole group", "the parent alone"])
@pytest.mark.parametrize("when", ["workers start", "workers work"])
def test_ctrl_c_is_one_line_and_leaves_no_worker(tmp_path: Path, whom: str, when: str) -> None:
    (tmp_path / "command.py").write_text(POOL)
    process = subprocess.Popen(
        [sys.executable, "command.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if when == "workers start":
        wait_for(lambda: len(children.read_text().split()) >= 2, process)
    else:
        wait_for(lambda: len(list(tmp_path.glob("started-*"))) == 2, process)
    started = children.read_text().split()
    if whom == "the whole group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "megalite: error: interrupted; run the same command again to resume\n")
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in started):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.01)


def alive(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
