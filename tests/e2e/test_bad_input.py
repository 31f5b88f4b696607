"""Bad input of many kinds to every command: one line, exit 2, nothing lost, nothing that looks finished.

A sample here; the whole set by ``cd tests && python -m bad_input``, or with MEGALITE_BAD_INPUT=all in the environment.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_input.run_case import Case, run_cases

TESTS = Path(__file__).parents[1]
SAMPLE = 220
"""Cases that take about a minute and a half on two cores."""


@pytest.mark.timeout(7200)
def test_bad_input_is_refused_in_one_line_and_nothing_is_lost() -> None:
    whole = os.environ.get("MEGALITE_BAD_INPUT") == "all"
    words = [] if whole else ["--sample", str(SAMPLE)]
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    ended = subprocess.run(
        [sys.executable, "-m", "bad_input", *words],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert whole or f"'cases': {SAMPLE}" in ended.stdout


def _accepts() -> None:
    pass


def _refuses() -> None:
    print("megalite: error: no", file=sys.stderr)
    raise SystemExit(2)


def _refuses_twice() -> None:
    print("megalite: error: no\nmegalite: error: no", file=sys.stderr)
    raise SystemExit(2)


def _raises() -> None:
    raise ValueError("a bug")


def _changes() -> None:
    Path("theirs").write_text("ours")
    _refuses()


def _leaves() -> None:
    Path("result").touch()
    _refuses()


def _hangs() -> None:
    time.sleep(60)


def _dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        (_refuses, ""),
        (_accepts, "accepted"),
        (_refuses_twice, "not one line"),
        (_raises, "exit 1; traceback"),
        (_changes, "changed: theirs"),
        (_leaves, "left: result"),
        (_hangs, "hangs"),
        (_dies, "died by signal 9"),
    ],
)
def test_the_judge_sees_each_fault(command: object, faults: str, tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "theirs").touch()
    seconds = 1.0 if command is _hangs else 60.0
    (ended,) = run_cases([Case("case", [])], tmp_path / "world", tmp_path, command=command, seconds=seconds)
    assert "; ".join(ended.faults).startswith(faults) and bool(ended.faults) == bool(faults)
