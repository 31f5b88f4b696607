"""Tasks run by worker processes of this machine, with the results in the order of the tasks."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
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
    """Worker processes. They start with the first call of ``map`` for more than one item.

    They end with the ``with`` block, and also if this process is killed.
    """

    def __init__(self, workers: int, may_fork: bool = False) -> None:
        """
        Args:
            workers: with 1, tasks run in this process.
            may_fork: fork workers, with all that is loaded, if no thread and no torch makes that unsafe.

        Raises: DataError if ``workers`` is less than 1.
        """
        if workers < 1:
            raise DataError(f"--workers {workers}: give at least 1")
        self.workers, self._may_fork = workers, may_fork
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            if error[0] is not None:
                _terminate_children()
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` for every item, in order. Raises: DataError if a worker dies."""
        if self.workers == 1 or len(items) <= 1:
            yield from map(function, items)
            return
        if self._pool is None:
            is_safe = self._may_fork and threading.active_count() == 1 and "torch" not in sys.modules
            context = multiprocessing.get_context("fork" if is_safe else "spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, _watch_parent)
        try:
            with _sigint_blocked():
                waiting: deque[Future[Result]] = deque(self._pool.submit(function, item) for item in items)
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died (out of memory?); finished work is kept: run the same command again, with fewer "
                "--workers if it dies again"
            ) from None


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes that start in this block inherit the mask and never see Ctrl-C; here the signal stays pending."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _terminate_children() -> None:
    for child in multiprocessing.active_children():
        child.terminate()


def _watch_parent() -> None:
    """Run in a worker: end when the parent was killed, since nobody else would end this process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
