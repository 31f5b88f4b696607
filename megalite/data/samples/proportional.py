"""Samples dealt out to sources in proportion to whole weights, as a formula: any sample, any length, no table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fork:
    """Of every n samples that come here, ``round(n * left_weight / weight)`` go left and the rest right."""

    left: "Fork | int"
    right: "Fork | int"
    left_weight: int
    weight: int

    def goes_left(self, samples: int) -> int:
        """How many of the first ``samples``; never falls and never leaps, as the weight is that of both sides."""
        return (2 * samples * self.left_weight + self.weight) // (2 * self.weight)


class ProportionalDeal:
    """Which source sample n belongs to, and which of the source's own samples it is, in O(log sources).

    A binary tree of forks ends in the sources. Rounding at each fork makes the counts whole; a rounding error that comes
    down from above is scaled by the share of each fork below. So a source of weight w is, after any number of samples,
    within ``(1 + sum of w/s) / 2`` samples of its exact share, where s goes over the weights of the inner forks above it.
    The tree is chosen to keep the largest of these small: 1/2 for two sources, under 1 for three and four, about 1.2 for
    the worst weights of more. The error does not grow with the number of samples.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        """``weights``: one for each source, at least one above 0; a source with 0 gets nothing."""
        self.weights = tuple(weights)
        self.largest_lag, self._root = _best_tree(self.weights)

    def locate(self, sample: int) -> tuple[int, int]:
        """``(source, sample number within the source)`` of a sample."""
        node = self._root
        while isinstance(node, Fork):
            left = node.goes_left(sample)
            if node.goes_left(sample + 1) > left:
                node, sample = node.left, left
            else:
                node, sample = node.right, sample - left
        return node, sample

    def counts(self, samples: int) -> list[int]:
        """How many of the first ``samples`` each source gives."""
        found = [0] * len(self.weights)
        waiting: list[tuple[Fork | int, int]] = [(self._root, samples)]
        while waiting:
            node, arriving = waiting.pop()
            if isinstance(node, Fork):
                left = node.goes_left(arriving)
                waiting += [(node.left, left), (node.right, arriving - left)]
            else:
                found[node] = arriving
        return found


def _best_tree(weights: tuple[int, ...]) -> tuple[float, Fork | int]:
    """The largest lag in samples, and the tree over the sources in the order of their weights that keeps it smallest.

    Dynamic programming over the stretches of that order. A stretch's cost bounds ``sum of w/s`` within it by the heaviest
    source of either half, which is its last.
    """
    order = sorted((weight, source) for source, weight in enumerate(weights) if weight)
    sums = [0]
    for weight, _ in order:
        sums.append(sums[-1] + weight)
    count = len(order)
    best: dict[tuple[int, int], tuple[float, Fork | int]] = {(i, i + 1): (0.0, order[i][1]) for i in range(count)}
    for length in range(2, count + 1):
        for start in range(count - length + 1):
            end = start + length
            whole = sums[end] - sums[start]
            scale = math.inf if length == count else whole  # no error comes down to the topmost fork
            cost, cut = min(
                (
                    max(best[start, cut][0] + order[cut - 1][0] / scale, best[cut, end][0] + order[end - 1][0] / scale),
                    cut,
                )
                for cut in range(start + 1, end)
            )
            left, right = best[start, cut][1], best[cut, end][1]
            best[start, end] = (cost, Fork(left, right, sums[cut] - sums[start], whole))
    cost, root = best[0, count]
    return (1 + cost) / 2 if count > 1 else 0.0, root
