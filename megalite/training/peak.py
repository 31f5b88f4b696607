"""What one device can do at most."""

import time
from itertools import product

import torch
from torch.nn import functional as F

SIZES = {"cpu": (128, 256, 512, 1024, 2048), "cuda": (1024, 2048, 4096, 8192)}
"""Of square products; each is also measured with four times as many rows, and with four times as many columns."""
SECONDS = 0.05
"""For each shape."""
MOST_SECONDS = 0.1
"""Of one product; larger ones than this are not tried."""
Shape = tuple[int, int, int]
"""Rows, columns and the dim that is summed over."""


def measure_peak_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of the best of several matrix products, each repeated after a warm-up, with the threads this rank has."""
    sizes = SIZES.get(device.type, SIZES["cuda"])
    best = 0.0
    for size, (taller, wider) in product(sizes, ((1, 1), (4, 1), (1, 4))):
        shape = (taller * size, wider * size, size)
        if best and operations(shape) / (best * 1e12) > MOST_SECONDS:
            break
        best = max(best, measure_tflops(device, dtype, shape))
    return best


def measure_tflops(device: torch.device, dtype: torch.dtype, shape: Shape, seconds: float = SECONDS) -> float:
    """TFLOP/s of the fastest of repeated products of one shape, as a linear layer does them."""
    rows, columns, summed = shape
    left = torch.randn(rows, summed, device=device).to(dtype)
    weight = torch.randn(columns, summed, device=device).to(dtype)
    _timed(device, left, weight, 1)  # the first one loads and chooses kernels
    one = _timed(device, left, weight, 1)
    together = max(1, int(1e-3 / one))  # so that starting the clock weighs nothing
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
