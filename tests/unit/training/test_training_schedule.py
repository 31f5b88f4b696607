import math

import pytest

from megalite.config.schema import ScheduleSection
from megalite.training.schedule import learning_rate


def rates(schedule: ScheduleSection, steps: int = 100) -> list[float]:
    return [learning_rate(schedule, 1.0, step, steps) for step in range(steps)]


def test_warm_up_is_linear_and_reaches_the_peak_after_its_last_step() -> None:
    schedule = ScheduleSection(warmup_steps=4)
    assert rates(schedule)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_equals_the_closed_form_and_ends_at_the_floor() -> None:
    got = rates(ScheduleSection(warmup_steps=0, min_lr_ratio=0.1))
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 99)) / 2 for step in range(100)]
    assert got == pytest.approx(expected)
    assert got[-1] == pytest.approx(0.1)


def test_linear_halves_in_the_middle() -> None:
    assert rates(ScheduleSection(decay="linear", min_lr_ratio=0.0), 101)[50] == pytest.approx(0.5)


def test_wsd_is_stable_then_falls_over_the_last_fraction() -> None:
    got = rates(ScheduleSection(decay="wsd", decay_fraction=0.2, min_lr_ratio=0.0), 101)
    assert got[:81] == [1.0] * 81
    assert got[90] == pytest.approx(0.5)
    assert got[-1] == pytest.approx(0.0)


def test_constant_stays() -> None:
    assert set(rates(ScheduleSection(decay="constant"))) == {1.0}


def test_a_run_of_one_step_has_the_peak() -> None:
    assert learning_rate(ScheduleSection(), 3.0, 0, 1) == 3.0
