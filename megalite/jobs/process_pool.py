"""Calls spread over worker processes, with the results in the order of the calls."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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
            if error[0] is not None:
                end_workers()
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """``function`` of every item, in order. Raises: DataError where a worker died."""
        if self._workers == 1 or len(items) <= 1:
            yield from map(function, items)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, watch_parent)
        try:
            with deaf_children():
                waiting: deque[Future[Result]] = deque(self._pool.submit(function, item) for item in items)
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died (out of memory?); what is done is kept: run the same command again, with fewer "
                "--workers if it dies again"
            ) from None


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that start in the block never hear Ctrl-C, from their first instruction on: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # children inherit it; here it stays pending
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_workers() -> None:
    """End all child processes now; what they have not finished is done again by the next run."""
    for child in multiprocessing.active_children():
        child.terminate()


def watch_parent() -> None:
    """Run by a worker: end with a parent that was killed, which can end nobody, and would be waited for for ever."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
