"""Tasks run by a Ray cluster whose machines all see the work folder.

Uses plain ``ray.remote``, because datatrove's executor for Ray (0.10.1) reports a failed task only in its log and then ends
like a successful run.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from megalite.config.errors import ConfigError, DataError

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING = 4
"""Tasks submitted per worker, so that none is idle."""


class RayPool:
    """Tasks of the cluster in ``RAY_ADDRESS`` (``auto`` finds it), or of a cluster started here for the run."""

    def __init__(self, workers: int) -> None:
        """Run ``workers`` tasks of one CPU at the same time. Raises: ConfigError if Ray is not installed."""
        try:
            import ray
        except ImportError:
            raise ConfigError("--engine ray: Ray is not installed; pip install 'megalite[cluster]'") from None
        self._ray, self.workers = ray, workers
        self._started = False

    def __enter__(self) -> "RayPool":
        if not self._ray.is_initialized():
            self._sigterm = signal.getsignal(signal.SIGTERM)
            quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
            if os.environ.get("RAY_ADDRESS"):
                self._ray.init(**quiet)
            else:
                self._ray.init(address="local", num_cpus=self.workers, include_dashboard=False, **quiet)
            self._started = True
        return self

    def __exit__(self, *error: Any) -> None:
        if self._started:
            self._ray.shutdown()
            signal.signal(signal.SIGTERM, self._sigterm)  # Ray leaves its own handler, which forked children inherit

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` for every item, in the order of completion. Raises: DataError if a worker dies."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=0)(function_of)
        running: list[Any] = []
        for item in items:
            running.append(remote.remote(function, item, str(Path.cwd())))
            if len(running) >= WAITING * self.workers:
                yield self._next(running)
        while running:
            yield self._next(running)

    def _next(self, running: list[Any]) -> Any:
        (done, *_), rest = self._ray.wait(running, num_returns=1)
        running[:] = rest
        try:
            return self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"a Ray worker died: {reason}; finished work is kept: run the same command again") from None


def function_of(function: Callable[[Any], Any], item: Any, folder: str) -> Any:
    """Run in a Ray task: relative paths are resolved from the folder of the command."""
    os.chdir(folder)
    return function(item)
