"""When ranks that stand still are a hang: by a clock that only the test moves."""

import time
from pathlib import Path

import pytest

from megalite.training.save_or_stop import Requests
from megalite.training.supervision.heartbeat import PATIENCE, SLOW_PHASES, Heartbeat
from megalite.training.supervision.watch import Watch

TIMEOUT = 100.0


class Clock:
    """Seconds since the last move, as the watch of a rank finds them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
        self.now = 5000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.heartbeat = Heartbeat()
        self.heartbeat.step = 7
        self.watch = Watch(self.heartbeat, folder, TIMEOUT, Requests(), lambda: "go on")
        self.heartbeat.at(phase)
        self.seen(0)

    def seen(self, after: float) -> str | None:
        self.now += after
        return self.watch._rank_that_hangs()


@pytest.mark.parametrize("phase", SLOW_PHASES)
def test_a_slow_save_or_load_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    clock = Clock(tmp_path, monkeypatch, phase)
    assert clock.seen(TIMEOUT * PATIENCE - 1) is None
    said = clock.seen(2)
    assert said is not None and f"in {phase} of step 7, micro-batch 0 hangs: nothing has moved for 1000 s" in said


@pytest.mark.parametrize("phase", SLOW_PHASES)
def test_a_save_that_ticks_may_last_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    clock = Clock(tmp_path, monkeypatch, phase)
    for _ in range(50):
        assert clock.seen(TIMEOUT * PATIENCE - 1) is None
        clock.heartbeat.tick()
        assert clock.seen(1) is None


@pytest.mark.parametrize("phase", ["forward", "reading", "step"])
def test_elsewhere_the_time_out_is_the_time_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    clock = Clock(tmp_path, monkeypatch, phase)
    assert clock.seen(TIMEOUT - 1) is None
    said = clock.seen(2)
    assert said is not None and "hangs: nothing has moved for 100 s" in said
