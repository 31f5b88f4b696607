"""Standard errors of figures and differences against the jackknife, lm-eval and NumPy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from lm_eval.api.metrics import mean_stderr

from megalite.evaluation.compare.paired import (
    BITS,
    MEAN,
    PERPLEXITY,
    aggregation_of,
    influence,
    paired_error,
    standard_error,
)

RANDOM = np.random.default_rng(0)
RIGHT = [RANDOM.integers(0, 2, 400).tolist() for _ in range(2)]
LOGS = [(-RANDOM.gamma(2.0, 0.3, 400)).tolist() for _ in range(2)]
SIZES = RANDOM.integers(50, 500, 400).tolist()
TEXTS = [[[-0.6 * size * float(RANDOM.uniform(0.9, 1.1)), size] for size in SIZES] for _ in range(2)]


def perplexity(values: list) -> float:
    return math.exp(-sum(values) / len(values))


def bits(values: list) -> float:
    return -sum(value for value, _ in values) / sum(size for _, size in values) / math.log(2)


def mean(values: list) -> float:
    return sum(values) / len(values)


def jackknife(metric: Callable[[list], float], ours: list, theirs: list | None = None) -> float:
    """Standard error of a metric, or of a difference, from leaving out each item once."""
    count = len(ours)
    left = [
        metric(ours[:n] + ours[n + 1 :]) - (metric(theirs[:n] + theirs[n + 1 :]) if theirs else 0.0)
        for n in range(count)
    ]
    return float(np.sqrt((count - 1) * np.var(left)))


@pytest.mark.parametrize(
    ("metric", "way", "values"), [(mean, MEAN, RIGHT), (perplexity, PERPLEXITY, LOGS), (bits, BITS, TEXTS)]
)
def test_errors_of_figures_and_differences_equal_the_jackknifes(metric: Callable, way: object, values: list) -> None:
    one, other = values
    assert aggregation_of(one, metric(one)) is way
    assert standard_error(influence(one, way)) == pytest.approx(jackknife(metric, one), rel=0.01)
    expected = jackknife(metric, one, other)
    assert paired_error(one, other, (metric(one), metric(other))) == pytest.approx(expected, rel=0.01)


def test_errors_equal_lm_evals_and_numpys() -> None:
    assert standard_error(influence(RIGHT[0], MEAN)) == pytest.approx(mean_stderr(RIGHT[0]))
    differences = np.subtract(*RIGHT)
    expected = differences.std(ddof=1) / math.sqrt(len(differences))
    assert paired_error(*RIGHT, (mean(RIGHT[0]), mean(RIGHT[1]))) == pytest.approx(expected)
    assert paired_error(RIGHT[0], RIGHT[0], (mean(RIGHT[0]), mean(RIGHT[0]))) == 0


def test_no_error_is_reported_if_items_do_not_give_the_figure() -> None:
    assert aggregation_of(RIGHT[0], 0.123) is None
    assert aggregation_of(["yes", "no"], 0.5) is None
    assert aggregation_of([], 0.5) is None
    assert paired_error(RIGHT[0], RIGHT[1][:-1], (mean(RIGHT[0]), mean(RIGHT[1][:-1]))) is None
    assert paired_error([None], [1], (1.0, 1.0)) is None
    assert standard_error([1.0]) is None
