"""Learning rates against numbers worked out by hand, at every boundary of every schedule."""

from typing import Any

import pytest

from megalite.config.schema import ScheduleSection
from megalite.training.schedule import learning_rate


def rates(steps: int, peak: float = 1.0, **schedule: Any) -> list[float]:
    return [learning_rate(ScheduleSection(**schedule), peak, step, steps) for step in range(steps)]


def test_linear_by_hand() -> None:
    got = rates(8, peak=8.0, warmup_steps=3, decay="linear", min_lr_ratio=0.5)
    assert got == pytest.approx([2, 4, 6, 8, 7, 6, 5, 4])  # 3 of warm-up, the peak, then down to the floor at the last


def test_cosine_by_hand() -> None:
    got = rates(7, peak=2.0, warmup_steps=2, min_lr_ratio=0.1)
    half = 0.9 * 0.5 * 2**-0.5  # cos(pi/4)
    assert got == pytest.approx([2 / 3, 4 / 3, 2, 2 * (0.55 + half), 1.1, 2 * (0.55 - half), 0.2])


def test_wsd_by_hand() -> None:
    got = rates(12, warmup_steps=1, decay="wsd", decay_fraction=0.4, min_lr_ratio=0.2)
    assert got == pytest.approx(
        [0.5, *[1.0] * 7, 0.8, 0.6, 0.4, 0.2]
    )  # stable to 6/10 of the way, then four steps down


def test_wsd_that_decays_all_the_way_is_linear() -> None:
    linear = rates(9, warmup_steps=2, decay="linear", min_lr_ratio=0.3)
    assert rates(9, warmup_steps=2, decay="wsd", decay_fraction=1.0, min_lr_ratio=0.3) == pytest.approx(linear)


def test_constant_warms_up_and_stays() -> None:
    assert rates(5, peak=3.0, warmup_steps=2, decay="constant") == pytest.approx([1, 2, 3, 3, 3])


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    for decay in ("cosine", "linear", "constant", "wsd"):
        assert rates(50, peak=2.0, decay=decay)[0] == 2.0


@pytest.mark.parametrize("decay", ["cosine", "linear", "wsd"])
def test_the_last_step_has_the_floor_and_no_step_less(decay: str) -> None:
    got = rates(100, decay=decay, warmup_steps=10, min_lr_ratio=0.25)
    assert got[-1] == pytest.approx(0.25)
    assert got[-2] > got[-1]
    assert got[:11] == sorted(got[:11])
    assert got[10:] == sorted(got[10:], reverse=True)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant", "wsd"])
def test_beyond_the_last_step_the_rate_stays(decay: str) -> None:
    schedule = ScheduleSection(decay=decay, min_lr_ratio=0.25)
    last = learning_rate(schedule, 1.0, 9, 10)
    assert [learning_rate(schedule, 1.0, step, 10) for step in (10, 11, 1000)] == pytest.approx([last] * 3)


def test_runs_too_short_to_decay() -> None:
    assert rates(1, peak=3.0) == [3.0]
    assert rates(4, peak=4.0, warmup_steps=4) == pytest.approx([0.8, 1.6, 2.4, 3.2])  # warm-up is all there is
    assert rates(4, peak=4.0, warmup_steps=3) == pytest.approx([1, 2, 3, 4])
    assert rates(5, peak=4.0, warmup_steps=3) == pytest.approx([1, 2, 3, 4, 0.4])
