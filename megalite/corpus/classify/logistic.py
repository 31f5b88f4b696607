"""Logistic regression on rows of ones: which features each document has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Buckets = npt.NDArray[np.uint32]


def sigmoid(logits: Any) -> Any:
    """``1 / (1 + exp(-x))`` without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))


class Examples:
    """Labelled documents as rows of buckets, laid end to end."""

    def __init__(self, rows: Sequence[Buckets], labels: Sequence[bool]) -> None:
        """One row of buckets and one label for each document."""
        self.labels = np.asarray(labels, dtype=np.float64)
        self._columns: npt.NDArray[Any] = np.concatenate(rows) if rows else np.zeros(0, dtype=np.uint32)
        self._sizes = np.fromiter(map(len, rows), dtype=np.int64)
        self._scale = 1 / np.sqrt(np.maximum(1, self._sizes))
        self._ends = np.cumsum(self._sizes)

    def __len__(self) -> int:
        """Documents."""
        return len(self.labels)

    def densely(self, buckets: int) -> Buckets:
        """Number the buckets that occur anew, 0, 1, 2 ...; returns the old numbers. Makes training many times faster."""
        occurs = np.zeros(buckets, dtype=bool)
        occurs[self._columns] = True
        self._columns = (np.cumsum(occurs) - 1)[self._columns].astype(np.int32)
        return np.flatnonzero(occurs).astype(np.uint32)

    def logits(self, weights: npt.NDArray[Any], bias: float) -> npt.NDArray[np.float64]:
        """The score of every document."""
        sums = np.concatenate(([0.0], np.cumsum(weights[self._columns], dtype=np.float64)))
        return (sums[self._ends] - sums[self._ends - self._sizes]) * self._scale + bias

    def spread(self, residuals: npt.NDArray[np.float64], buckets: int) -> npt.NDArray[np.float64]:
        """The transpose: what every document's residual adds to the gradient of each weight."""
        shares = np.repeat(residuals * self._scale, self._sizes)
        return np.bincount(self._columns, weights=shares, minlength=buckets).astype(np.float64, copy=False)


def fit(
    examples: Examples,
    buckets: int,
    penalty: float,
    start: npt.NDArray[np.float64] | None = None,
    tolerance: float = 1e-4,
    iterations: int = 60,
) -> npt.NDArray[np.float64]:
    """Weights, and the bias after them, of the least mean log loss plus ``penalty / 2 * |weights|**2``, by L-BFGS.

    Nocedal and Wright, Numerical Optimization, algorithm 7.4, with ten pairs and a backtracking line search; it ends where
    a step makes less than ``tolerance`` of the loss.
    """
    point = np.zeros(buckets + 1) if start is None else start
    loss, gradient = _loss(examples, point, penalty)
    steps: list[npt.NDArray[np.float64]] = []
    changes: list[npt.NDArray[np.float64]] = []
    for _ in range(iterations):
        direction = -_inverse_hessian_times(gradient, steps, changes)
        slope, length = _dot(gradient, direction), 1.0 if steps else 10.0
        while True:
            new_point = point + length * direction
            new_loss, new_gradient = _loss(examples, new_point, penalty)
            if new_loss <= loss + 1e-4 * length * slope or length < 1e-8:
                break
            length /= 2
        steps.append(new_point - point)
        changes.append(new_gradient - gradient)
        if _dot(changes[-1], steps[-1]) <= 1e-12:
            steps.pop(), changes.pop()
        del steps[:-10], changes[:-10]
        is_done = loss - new_loss < tolerance * loss
        point, loss, gradient = new_point, new_loss, new_gradient
        if is_done:
            break
    return point


def _loss(examples: Examples, point: npt.NDArray[np.float64], penalty: float) -> tuple[float, npt.NDArray[np.float64]]:
    weights, bias = point[:-1], float(point[-1])
    logits = examples.logits(weights, bias)
    loss = float(np.mean(np.logaddexp(0, logits) - examples.labels * logits)) + penalty / 2 * _dot(weights, weights)
    residuals = (sigmoid(logits) - examples.labels) / len(examples)
    gradient = np.append(examples.spread(residuals, len(weights)) + penalty * weights, residuals.sum())
    return loss, gradient


def _inverse_hessian_times(
    gradient: npt.NDArray[np.float64], steps: list[npt.NDArray[np.float64]], changes: list[npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """The two-loop recursion."""
    result, shares = gradient.copy(), []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        shares.append(_dot(step, result) / _dot(step, change))
        result -= shares[-1] * change
    if steps:
        result *= _dot(steps[-1], changes[-1]) / _dot(changes[-1], changes[-1])
    for step, change in zip(steps, changes, strict=True):
        result += (shares.pop() - _dot(change, result) / _dot(step, change)) * step
    return result


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """The inner product without BLAS, whose threads wait for each other on a busy machine."""
    return float(np.einsum("i,i", a, b))


def calibrate(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset that make ``sigmoid(slope * logit + offset)`` a probability, by Newton's method.

    Targets are smoothed as Platt does, so that perfectly separated data give finite numbers.
    """
    positives = float(labels.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    targets = np.where(labels > 0.5, high, low)
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    parameters = np.array([1.0, 0.0])
    for _ in range(50):
        chances = sigmoid(design @ parameters)
        curvature = (design * (chances * (1 - chances))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (chances - targets))
        parameters -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return float(parameters[0]), float(parameters[1])
