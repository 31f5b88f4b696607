"""Logistic regression with an L2 penalty, by scipy's L-BFGS; features are sparse rows of a document's buckets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, minimize
from scipy.sparse import csr_array
from scipy.special import expit
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Buckets = npt.NDArray[np.uint32]


def feature_matrix(rows: Sequence[Buckets], buckets: int) -> csr_array:
    """Returns ``(documents, buckets)`` with ``1 / sqrt(n)`` in each of a document's n buckets."""
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    columns = np.concatenate(rows).astype(np.int32)
    values = np.repeat(1 / np.sqrt(np.maximum(1, sizes)), sizes)
    return csr_array((values, columns, np.concatenate(([0], np.cumsum(sizes)))), shape=(len(rows), buckets))


def fit(
    features: Any, targets: Doubles, penalty: float, start: Doubles, tolerance: float = 1e-4, iterations: int = 60
) -> Doubles:
    """Returns the weights, followed by the bias, that minimize the mean log loss plus ``penalty / 2 * |weights|**2``.

    Args:
        features: a dense or sparse matrix with a row for each document.
        targets: 0 to 1 for each document.
        tolerance: stops after an iteration that reduces the loss by less than this share of it.
    """
    losses = [np.inf]

    def loss_and_gradient(point: Doubles) -> tuple[float, Doubles]:
        weights, logits = point[:-1], features @ point[:-1] + point[-1]
        residuals = (expit(logits) - targets) / len(targets)
        gradient = np.append(features.T @ residuals + penalty * weights, residuals.sum())
        return log_loss(logits, targets) + penalty / 2 * float(weights @ weights), gradient

    def stop_if_converged(intermediate_result: OptimizeResult) -> None:
        losses.append(intermediate_result.fun)
        if losses[-2] - losses[-1] < tolerance * losses[-2]:
            raise StopIteration

    options = {"maxiter": iterations, "ftol": 0.0, "gtol": 0.0}
    with threadpool_limits(1, "blas"):  # vectors of this size gain nothing from threads, which wait on a busy machine
        found = minimize(
            loss_and_gradient, start, method="L-BFGS-B", jac=True, options=options, callback=stop_if_converged
        )
    return np.asarray(found.x)


def log_loss(logits: Doubles, targets: Doubles) -> float:
    """The mean over the documents, in nats."""
    return float(np.mean(np.logaddexp(0, logits) - targets * logits))


def calibrate(logits: Doubles, labels: Doubles) -> tuple[float, float]:
    """Returns the slope and offset that make ``sigmoid(slope * logit + offset)`` a probability (Platt 1999).

    Platt's smoothed targets keep both finite if the classes are perfectly separated.
    """
    positives = float(labels.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    targets = np.where(labels > 0.5, high, low)
    slope, offset = fit(logits[:, None], targets, 0.0, np.array([1.0, 0.0]), tolerance=1e-12)
    return float(slope), float(offset)
