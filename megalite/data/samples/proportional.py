"""Deals samples to sources in proportion to integer weights, by a formula: any sample of any run, without a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fork:
    """Of every n samples that reach a fork, ``round(n * left_weight / weight)`` go left and the rest go right."""

    left: "Fork | int"
    right: "Fork | int"
    left_weight: int
    weight: int

    def count_left(self, samples: int) -> int:
        """How many of the first ``samples`` go left. Grows by 0 or 1 with each sample."""
        return (2 * samples * self.left_weight + self.weight) // (2 * self.weight)


class ProportionalDeal:
    """Maps sample n to its source, and to its number among the samples of that source.

    The sources are the leaves of a binary tree of forks. Each fork rounds to whole samples, and each fork below scales the
    rounding error by its share. So after any number of samples, a source of weight w is within ``(1 + sum of w/s) / 2``
    samples of its exact share, where s runs over the weights of the forks above it except the root. The tree minimizes
    the largest of these bounds: 1/2 for two sources, below 1 for three and four, about 1.2 at worst.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        """``weights``: one per source, at least one above 0; a source of weight 0 gets no samples."""
        self.weights = tuple(weights)
        self.largest_lag, self._root = _best_tree(self.weights)

    def locate(self, sample: int) -> tuple[int, int]:
        """Returns ``(source, sample number within the source)``."""
        node = self._root
        while isinstance(node, Fork):
            left = node.count_left(sample)
            if node.count_left(sample + 1) > left:
                node, sample = node.left, left
            else:
                node, sample = node.right, sample - left
        return node, sample

    def counts(self, samples: int) -> list[int]:
        """How many of the first ``samples`` each source gets."""
        found = [0] * len(self.weights)
        waiting: list[tuple[Fork | int, int]] = [(self._root, samples)]
        while waiting:
            node, arriving = waiting.pop()
            if isinstance(node, Fork):
                left = node.count_left(arriving)
                waiting += [(node.left, left), (node.right, arriving - left)]
            else:
                found[node] = arriving
        return found


def _best_tree(weights: tuple[int, ...]) -> tuple[float, Fork | int]:
    """Returns the largest lag in samples, and the tree that minimizes it among those over the sources sorted by weight.

    Dynamic programming over the intervals of that order. The cost of an interval bounds ``sum of w/s`` inside it by the
    heaviest source of each half, which is its last.
    """
    order = sorted((weight, source) for source, weight in enumerate(weights) if weight)
    sums = [0]
    for weight, _ in order:
        sums.append(sums[-1] + weight)
    exact = np.float64 if sums[-1] < 2**53 else object  # Python divides larger integers with correct rounding
    sorted_weights = np.array([weight for weight, _ in order], dtype=exact)
    count = len(order)
    cost, cuts = np.zeros((count + 1, count + 1)), np.zeros((count + 1, count + 1), dtype=np.int32)
    for length in range(2, count + 1):
        for start in range(count - length + 1):
            end = start + length
            scale = math.inf if length == count else sums[end] - sums[start]  # no error reaches the root
            shares = (sorted_weights[start:end] / scale).astype(np.float64)
            costs = np.maximum(cost[start, start + 1 : end] + shares[:-1], cost[start + 1 : end, end] + shares[-1])
            best = int(costs.argmin())
            cost[start, end], cuts[start, end] = costs[best], start + 1 + best

    def tree(start: int, end: int) -> Fork | int:
        if end - start == 1:
            return order[start][1]
        cut = int(cuts[start, end])
        return Fork(tree(start, cut), tree(cut, end), sums[cut] - sums[start], sums[end] - sums[start])

    return (1 + float(cost[0, count])) / 2 if count > 1 else 0.0, tree(0, count)
