"""Requests to save or to stop: any rank makes them at any time, and all ranks vote on them at the end of a step.

``save every n steps``, the end of the run, signals, the end of the launcher, the file ``.ranks/stop`` and a lost lock all
call ``Requests.ask``. So does every further trigger.
"""

import contextlib
import enum
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

from megalite.config.errors import Stopped

if TYPE_CHECKING:
    import torch


class Request(enum.Enum):
    """What a run can be asked to do when the current step ends."""

    SAVE = enum.auto()
    STOP = enum.auto()
    """After a save."""


class Requests:
    """The requests that this rank has received, and what all ranks have agreed on."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        """Who stops the run before its end: ``SIGTERM``, ``Ctrl-C``, ``the end of its launcher`` ..."""
        self.exit_code = 128 + signal.SIGTERM
        self.all_stop = False
        """Whether the ranks have agreed to stop, and do so together."""
        self.wait_for_vote = False
        """Whether somebody votes. If not, a request to stop ends the process at once."""
        self._pending: set[Request] = set()

    @contextlib.contextmanager
    def decided_by_vote(self) -> Iterator[None]:
        """In this block, and after an error in it, a request waits for the next vote."""
        self.wait_for_vote = True
        yield
        self.wait_for_vote = False

    def ask(self, request: Request, reason: str | None = None, number: int = signal.SIGTERM) -> None:
        """Make a request. Safe in threads and signal handlers.

        Args:
            reason: who stops the run before its end. The first reason stays.
            number: of the signal that decides the exit code.
        """
        if request is Request.STOP and self.stop_reason is None and reason is not None:
            self.stop_reason, self.exit_code = reason, 128 + number
        self._pending.add(request)

    def vote(self, device: "torch.device") -> set[Request]:
        """The requests of all ranks since the last vote. Collective: one all-reduce, and one exchange at a stop."""
        import torch

        own = self._pending.copy()
        votes = torch.tensor([request in own for request in Request], dtype=torch.int32, device=device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(votes)
        self._pending.difference_update(own)
        agreed = {request for request, count in zip(Request, votes.tolist(), strict=True) if count}
        if Request.STOP in agreed:
            self._agree_on_reason()
        return agreed

    def stopped(self, what_is_left: str) -> Stopped:
        """The error that ends the process: ``stopped by SIGTERM; saved runs/a/step-000012 ...``."""
        return Stopped(f"stopped by {self.stop_reason}; {what_is_left}", self.exit_code)

    def _agree_on_reason(self) -> None:
        """Take the reason of the first rank that has one. Collective."""
        import torch

        reasons = [(self.stop_reason, self.exit_code)]
        if torch.distributed.is_initialized():
            reasons *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(reasons, (self.stop_reason, self.exit_code))
        self.stop_reason, self.exit_code = next((found for found in reasons if found[0] is not None), reasons[0])
        self.all_stop = True
