"""Measure the peak FLOP/s of a device."""

import time
from itertools import product

import torch
from torch.nn import functional as F

SIZES = {"cpu": (128, 256, 512, 1024, 2048), "cuda": (1024, 2048, 4096, 8192)}
"""Sizes of square products. Each is also measured with four times the rows, and with four times the columns."""
SECONDS = 0.05
"""Per shape."""
MOST_SECONDS = 0.1
"""Of one product; no larger products are tried."""
Shape = tuple[int, int, int]
"""Rows, columns, and the length of the dim that is summed over."""


def measure_peak_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of the best of several matrix products, each repeated after a warm-up, with this rank's threads."""
    sizes = SIZES.get(device.type, SIZES["cuda"])
    best = 0.0
    for size, (taller, wider) in product(sizes, ((1, 1), (4, 1), (1, 4))):
        shape = (taller * size, wider * size, size)
        if best and operations(shape) / (best * 1e12) > MOST_SECONDS:
            break
        best = max(best, measure_tflops(device, dtype, shape))
    return best


def measure_tflops(device: torch.device, dtype: torch.dtype, shape: Shape, seconds: float = SECONDS) -> float:
    """TFLOP/s of the fastest of repeated products of one shape, computed as in a linear layer."""
    rows, columns, summed = shape
    left = torch.randn(rows, summed, device=device).to(dtype)
    weight = torch.randn(columns, summed, device=device).to(dtype)
    _timed(device, left, weight, 1)  # the first product loads and selects kernels
    one = _timed(device, left, weight, 1)
    together = max(1, int(1e-3 / one))  # so that reading the clock costs nothing
    best, ends = one, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        best = min(best, _timed(device, left, weight, together))
    return operations(shape) / best / 1e12


def operations(shape: Shape) -> float:
    """Multiplications and additions of a product."""
    rows, columns, summed = shape
    return 2.0 * rows * columns * summed


def _timed(device: torch.device, left: torch.Tensor, weight: torch.Tensor, times: int) -> float:
    """Seconds of one product, averaged over ``times`` in a row."""
    _wait(device)
    began = time.perf_counter()
    for _ in range(times):
        F.linear(left, weight)
    _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
