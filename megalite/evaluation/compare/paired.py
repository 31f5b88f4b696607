"""Standard error of the difference between two models on the same items.

A metric is a function of a mean over items (accuracy: the mean; perplexity: exp of minus the mean; bits per byte: a ratio
of two means). Each item's influence is the derivative of that function (delta method). The spread of the two models'
differences in influence gives the standard error, so items that are equally hard for both models cancel out.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Aggregation(NamedTuple):
    """A metric as a function of ``r = sum(values) / sum(weights)``."""

    value: Callable[[float], float]
    slope: Callable[[float], float]


MEAN = Aggregation(lambda r: r, lambda r: 1.0)
PERPLEXITY = Aggregation(lambda r: math.exp(-r), lambda r: -math.exp(-r))
BITS = Aggregation(lambda r: -r / math.log(2), lambda r: -1 / math.log(2))


def aggregation_of(values: Sequence[Any], reported: float) -> Aggregation | None:
    """The aggregation that reproduces the reported figure; None if there is none, and then no error is reported."""
    pairs = _pairs(values)
    if pairs is None:
        return None
    try:
        mean = _ratio(pairs)
        return next(way for way in (MEAN, PERPLEXITY, BITS) if math.isclose(way.value(mean), reported, rel_tol=1e-9))
    except (StopIteration, OverflowError, ZeroDivisionError):
        return None


def influence(values: Sequence[Any], way: Aggregation) -> list[float]:
    """How much each item changes the metric, times the number of items. The mean is 0."""
    pairs = _pairs(values) or []
    ratio = _ratio(pairs)
    weight = sum(size for _, size in pairs) / len(pairs)
    return [way.slope(ratio) * (value - ratio * size) / weight for value, size in pairs]


def standard_error(influences: Sequence[float]) -> float | None:
    """Standard error of the mean, with n - 1; None for fewer than two items."""
    count = len(influences)
    if count < 2:
        return None
    mean = math.fsum(influences) / count
    return math.sqrt(math.fsum((value - mean) ** 2 for value in influences) / (count - 1) / count)


def paired_error(ours: Sequence[Any], theirs: Sequence[Any], reported: tuple[float, float]) -> float | None:
    """Standard error of the difference between two figures over the same items; None if unknown."""
    ways = [aggregation_of(values, figure) for values, figure in zip((ours, theirs), reported, strict=True)]
    if len(ours) != len(theirs) or ways[0] is None or ways[1] is None:
        return None
    both = zip(influence(ours, ways[0]), influence(theirs, ways[1]), strict=True)
    return standard_error([one - other for one, other in both])


def _pairs(values: Sequence[Any]) -> list[tuple[float, float]] | None:
    """``(value, weight)`` of each item; None if an item is not a number."""
    pairs = []
    for value in values:
        if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, int | float) for part in value):
            pairs.append((float(value[0]), float(value[1])))
        elif isinstance(value, int | float):
            pairs.append((float(value), 1.0))
        else:
            return None
    return pairs or None


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return math.fsum(value for value, _ in pairs) / math.fsum(size for _, size in pairs)
