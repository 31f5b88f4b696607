"""Requests to end: signals, the end of a launcher, and what a process does with them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

LIMIT = 120
"""Seconds to wait for what must come; on a loaded machine too."""
IDLE = """
import sys, time
from megalite.config.errors import one_line_errors
from megalite.training.supervision.signals import listening

@one_line_errors
def main():
    with listening() as requests:
        if sys.argv[1] == "idle":
            print("ready", flush=True)
            time.sleep(1000)
        with requests.decided_by_vote():
            print("ready", flush=True)
            while requests.stop_reason is None or sys.argv[1] == "deaf":
                time.sleep(0.05)
        raise requests.stopped("all is saved")

main()
"""


def start(how: str, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", IDLE, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGUSR1, "SIGUSR1"), (signal.SIGINT, "Ctrl-C")]
)
@pytest.mark.parametrize(("how", "left"), [("idle", "run the same command again to resume"), ("step", "all is saved")])
def test_a_signal_ends_with_one_sentence_and_its_own_code(
    number: signal.Signals, name: str, how: str, left: str
) -> None:
    process = start(how)
    process.send_signal(number)
    _, said = process.communicate(timeout=LIMIT)
    assert said == f"megalite: stopped by {name}; {left}\n"
    assert process.returncode == 128 + number


def test_a_second_ctrl_c_does_not_wait_for_the_step() -> None:
    process = start("deaf")
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.returncode == 130
    assert "stopped at once by a second Ctrl-C" in process.communicate()[1]


def test_the_signals_of_a_forked_child_are_its_own() -> None:
    code = IDLE.replace(
        '    print("ready", flush=True)\n            time.sleep(1000)',
        "    import os; child = os.fork()\n            if not child: time.sleep(1000)\n"
        "            print('ready', flush=True)\n"
        "            os.kill(child, 15); print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True); return",
    )
    ended = subprocess.run([sys.executable, "-c", code, "idle"], capture_output=True, text=True, timeout=LIMIT)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("ready\n-15\n", "", 0)


def launcher(folder: Path, levels: int) -> Callable[[], subprocess.Popen[str]]:
    """A program called torchrun that starts the next one, and the last of them a rank."""
    script = folder / "torchrun"
    script.write_text(
        "import os, subprocess, sys\n"
        "level = int(sys.argv[1])\n"
        "rank = [sys.executable, '-c', os.environ['IDLE'], 'step']\n"
        "next = [sys.executable, __file__, str(level - 1)] if level else rank\n"
        "sys.exit(subprocess.call(next, env=os.environ | {'RANK': '0', 'WORLD_SIZE': '1'}))\n"
    )
    return lambda: subprocess.Popen(
        [sys.executable, str(script), str(levels)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"IDLE": IDLE},
    )


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rank_ends_with_any_process_of_its_launcher(tmp_path: Path, victim: int, number: signal.Signals) -> None:
    """The launcher is two processes, as ``deepspeed`` is; a rank of it ends whichever is killed."""
    root = launcher(tmp_path, 1)()
    assert root.stdout is not None and root.stdout.readline() == "ready\n"
    processes = [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
    assert len(processes) == 3
    processes[victim].send_signal(number)
    _, said = root.communicate(timeout=LIMIT)
    assert said == "megalite: stopped by the end of its launcher; all is saved\n"
    assert not psutil.wait_procs(processes, timeout=LIMIT)[1]


def test_a_shell_around_a_launcher_may_end(tmp_path: Path) -> None:
    """``nohup torchrun ... &`` in a script that ends at once."""
    with launcher(tmp_path, 0)() as direct:
        command = " ".join(str(word) for word in direct.args)  # type: ignore[union-attr]
        direct.kill()
    shell = subprocess.Popen(
        ["bash", "-c", f"{command} & echo $!; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"IDLE": IDLE},
    )
    assert shell.stdout is not None
    said = [shell.stdout.readline(), shell.stdout.readline()]
    job = psutil.Process(int(next(line for line in said if line != "ready\n")))
    processes = [job, *job.children(recursive=True)]
    shell.kill()
    shell.wait()
    assert not psutil.wait_procs(processes, timeout=1)[0], "the job must go on"
    for process in processes:
        process.kill()
