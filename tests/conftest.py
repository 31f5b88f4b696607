"""What every test may use."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests/runs.py

SHARED_DATA = Path(os.environ.get("MEGALITE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real corpora and models that is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real data at {SHARED_DATA}; set MEGALITE_SHARED_DATA to one")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def signals_stay_as_they_were() -> Iterator[None]:
    """A handler that a test leaves behind is inherited by the processes of later tests, which then do not end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield
    left = {number.name: signal.getsignal(number) for number in before if signal.getsignal(number) != before[number]}
    assert not left, f"this test left handlers of signals behind: {left}"
