"""What every test may use."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megalite import cli

sys.path.insert(0, str(Path(__file__).parent))  # tests/runs.py
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny, and the cores belong to the other workers

SHARED_DATA = Path(os.environ.get("MEGALITE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
SLOW_FOLDERS = ("e2e", "multirank")
"""Their modules take minutes, so they start first and the short ones fill the gaps."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker per core for folders of rooms; a single room or file runs in this process, where debuggers work."""
    folders = [Path(argument) for argument in config.args]
    has_rooms = any(next(folder.glob("*/test_*.py"), None) for folder in folders)
    return min(len(os.sched_getaffinity(0)), 8) if has_rooms else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in SLOW_FOLDERS)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real corpora and models that is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real data at {SHARED_DATA}; set MEGALITE_SHARED_DATA to one")
    return SHARED_DATA


@pytest.fixture
def megalite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``megalite VERB WORDS`` in this process, which has the libraries loaded; returns what a process would."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        arguments = ["megalite", *map(str, words)]
        capsys.readouterr()
        code = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", arguments)
            try:
                cli.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


@pytest.fixture(autouse=True)
def signals_stay_as_they_were() -> Iterator[None]:
    """A handler that a test leaves behind is inherited by the processes of later tests, which then do not end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield
    left = {number.name: signal.getsignal(number) for number in before if signal.getsignal(number) != before[number]}
    assert not left, f"this test left handlers of signals behind: {left}"
