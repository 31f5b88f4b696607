"""What one device can do at most: a matrix product, timed."""

import time

import torch

SIZES = {"cpu": 1024, "cuda": 8192}
SECONDS = 0.3


def measure_peak_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of the best of a few square matrix products, with the threads this rank has.

    A measured peak is a little below the data sheet's, so utilisation against it reads a little higher.
    """
    size = SIZES.get(device.type, SIZES["cuda"])
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, ends = 0.0, time.perf_counter() + SECONDS
    while best == 0.0 or time.perf_counter() < ends:
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e12)
    return best
