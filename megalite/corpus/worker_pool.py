"""Calls spread over worker processes, with the results in the order of the calls."""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from megalite.config.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerPool:
    """Worker processes; they start with the first work for more than one, and end with the block or a killed parent."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error[0] is None, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """``function`` of every item, in order. Raises: DataError where a worker died."""
        if self._workers == 1 or len(items) <= 1:
            yield from map(function, items)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, _watch_parent)
        try:
            waiting: deque[Future[Result]] = deque(self._pool.submit(function, item) for item in items)
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died (out of memory?); what is done is kept: run the same command again, with fewer "
                "--workers if it dies again"
            ) from None


def _watch_parent() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed can end nobody, and its pool would wait for work for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
