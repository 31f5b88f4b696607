"""The memory that a command's workers may use."""

from megalite.config.errors import DataError

PROCESS_MB = 128
"""Memory of a process before it holds anything that grows with the corpus."""
LEAST_MB = 16


def memory_per_worker(memory_mb: int, workers: int) -> int:
    """Bytes for what one of ``workers`` holds in proportion to the corpus. Raises: DataError if that is too little."""
    if workers < 1:
        raise DataError(f"--workers {workers}: give at least 1")
    share = memory_mb * 2**20 // workers - PROCESS_MB * 2**20
    if share < LEAST_MB * 2**20:
        raise DataError(
            f"--memory_mb {memory_mb}: too little for {workers} worker(s); give {workers * (PROCESS_MB + LEAST_MB)} or more"
        )
    return share
