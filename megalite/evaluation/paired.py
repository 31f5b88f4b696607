"""Differences of two models on the same items, with the error that the pairing leaves.

A metric is a function of a mean over items (accuracy: the mean; perplexity: exp of minus the mean; bits per byte: a ratio
of two means). Each item's influence is the derivative of that function (the delta method); the difference of two models has
the influences' differences, whose spread gives its standard error. Items that both models find hard or easy drop out.
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
    """The aggregation that gives the reported figure again, or None: no error is claimed for a metric not understood."""
    pairs = _pairs(values)
    if pairs is None:
        return None
    try:
        mean = _ratio(pairs)
        return next(way for way in (MEAN, PERPLEXITY, BITS) if math.isclose(way.value(mean), reported, rel_tol=1e-9))
    except (StopIteration, OverflowError, ZeroDivisionError):
        return None


def influence(values: Sequence[Any], way: Aggregation) -> list[float]:
    """How much each item moves the metric, times the number of items; their mean is 0."""
    pairs = _pairs(values) or []
    ratio = _ratio(pairs)
    weight = sum(size for _, size in pairs) / len(pairs)
    return [way.slope(ratio) * (value - ratio * size) / weight for value, size in pairs]


def standard_error(influences: Sequence[float]) -> float | None:
    """Of the mean over items, with n - 1; None for fewer than two."""
    count = len(influences)
    if count < 2:
        return None
    mean = math.fsum(influences) / count
    return math.sqrt(math.fsum((value - mean) ** 2 for value in influences) / (count - 1) / count)


def paired_error(ours: Sequence[Any], theirs: Sequence[Any], reported: tuple[float, float]) -> float | None:
    """Standard error of the difference between two models' figures over the same items."""
    ways = [aggregation_of(values, figure) for values, figure in zip((ours, theirs), reported, strict=True)]
    if len(ours) != len(theirs) or ways[0] is None or ways[1] is None:
        return None
    both = zip(influence(ours, ways[0]), influence(theirs, ways[1]), strict=True)
    return standard_error([one - other for one, other in both])


def _pairs(values: Sequence[Any]) -> list[tuple[float, float]] | None:
    """``(value, weight)`` of each item, or None where an item is no number."""
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
