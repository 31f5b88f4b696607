"""End the whole job when a rank dies or hangs, with one message that says which rank and where.

Every rank watches the heartbeats of all others. It notices within a second when a process of its own machine is gone or
stopped. A job in which no rank moves for the set time is ended, and the message names the rank that holds the others up.
The rank that notices first prints the message, once for the job.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from megalite.config.errors import EXIT_BUG, EXIT_USER_ERROR, USER_ERRORS, DataError, Stopped, in_one_line
from megalite.config.launch import read_launch
from megalite.training.save_or_stop import Request, Requests
from megalite.training.shared_memory import remove_stale_buffers
from megalite.training.supervision.heartbeat import Heartbeat, Position, read_position
from megalite.training.supervision.machine import process_space

BEAT_SECONDS = 0.25
VERDICT, STOP_FILE = "verdict.txt", "stop"
END = "end"
"""Phase of a rank that has finished in order."""
LOST = {psutil.STATUS_ZOMBIE: "has died", psutil.STATUS_DEAD: "has died", psutil.STATUS_STOPPED: "is stopped"}
WAITING_IN = ("torch/distributed/", "deepspeed/comm/")
"""Code in which a rank waits for others."""


class Watch:
    """A thread beside the training; it never takes part in a collective."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        folder: Path,
        timeout_seconds: float,
        requests: Requests,
        how_to_resume: Callable[[], str],
    ) -> None:
        """``folder`` contains only this job's heartbeats, and all machines share it.

        Args:
            requests: receives a request to stop when somebody puts a file ``stop`` into the folder.
            how_to_resume: tells the user what to do after the job has failed.
        """
        self._heartbeat, self._folder, self._requests = heartbeat, folder, requests
        self._timeout, self._how_to_resume = timeout_seconds, how_to_resume
        self._world_size = read_launch().world_size
        self._rank, self._space = heartbeat.position().rank, process_space()
        self._done = threading.Event()
        self._main = threading.main_thread().ident
        self._moved_at, self._moves = time.monotonic(), -1

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Watch while the block runs. An error in it is reported with this rank's position, and ends the other ranks."""
        self._heartbeat.publish(self._folder)
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        except Stopped:
            culprit = None if self._requests.all_stop else self._lost_rank()
            if culprit is not None:  # the launcher ends the remaining ranks
                self._say(f"{culprit}; {self._how_to_resume()}")
                self._end()
            raise
        except Exception as error:
            self._give_up(error)
        finally:
            self._heartbeat.at(END)
            self._done.set()
            thread.join()

    def _run(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            if (self._folder / STOP_FILE).exists():
                self._requests.ask(Request.STOP, f"the file {self._folder / STOP_FILE}", signal.SIGUSR1)
            if (self._folder / VERDICT).exists() or not self._heartbeat.is_read:
                self._end()
            culprit = self._lost_rank() or self._rank_that_hangs()
            if culprit is not None:
                self._say(f"{culprit}; {self._how_to_resume()}")
                self._end()

    def _give_up(self, error: Exception) -> NoReturn:
        """End the job for an error in this rank, unless the error only shows that another rank is gone."""
        if _comes_from_communication(error):
            deadline = time.monotonic() + 10 * BEAT_SECONDS
            while time.monotonic() < deadline:  # the thread ends this process if it finds the rank that caused it
                time.sleep(BEAT_SECONDS)
        message, code = str(error), EXIT_USER_ERROR
        if isinstance(error, OSError):
            where = "" if error.filename is None else f"{error.filename}: "
            message = f"{self._heartbeat.position()} failed: {where}{error.strerror or error}; {self._how_to_resume()}"
        if self._world_size == 1:
            raise DataError(message) if isinstance(error, OSError) else error
        if not isinstance(error, USER_ERRORS):
            traceback.print_exception(error)
            reason = f"{type(error).__name__}: {in_one_line(error)}"
            message = f"{self._heartbeat.position()} failed: {reason}; {self._how_to_resume()}"
            code = EXIT_BUG
        self._say(message)
        self._end(code)

    def _lost_rank(self) -> str | None:
        """A rank of this machine whose process is gone or stopped."""
        for position in self._others():
            if position.space != self._space:
                continue
            try:
                state = LOST.get(psutil.Process(position.pid).status())
            except psutil.NoSuchProcess:
                state = "has died"
            if state is not None and position.phase != END:
                return f"{position} {state}"
        return None

    def _rank_that_hangs(self) -> str | None:
        positions = [*self._others(), self._heartbeat.position()]
        moves = sum(position.moves for position in positions)
        if moves != self._moves:
            self._moves, self._moved_at = moves, time.monotonic()
            return None
        limit = self._timeout * max(position.patience for position in positions)
        if time.monotonic() - self._moved_at < limit:
            return None
        last = min((position.step, position.moves) for position in positions)
        behind = [position for position in positions if (position.step, position.moves) == last]
        if self._heartbeat.position() in behind and not _waits_for_others(self._main):
            place = _place_of(self._main)
            return f"{self._heartbeat.position()} hangs: nothing has moved for {limit:g} s; it is at {place}"
        if time.monotonic() - self._moved_at > limit + 8 * BEAT_SECONDS:  # the rank that hangs has not reported itself
            return f"{min(behind, key=lambda p: p.rank)} hangs: nothing has moved for {limit:g} s"
        return None

    def _others(self) -> Iterator[Position]:
        for rank in range(self._world_size):
            if rank != self._rank and (position := read_position(self._folder / f"rank-{rank:05d}.json")) is not None:
                yield position

    def _say(self, message: str) -> None:
        """Print it, unless another rank has already reported the end of the job."""
        try:
            with (self._folder / VERDICT).open("x", encoding="utf-8") as file:
                file.write(message + "\n")
        except FileExistsError:
            return
        except OSError:  # this disk may be the full one
            pass
        print(f"megalite: error: {message}", file=sys.stderr, flush=True)

    def _end(self, code: int = EXIT_BUG) -> NoReturn:
        """Exit at once, and kill the stopped ranks of this machine, which cannot exit by themselves."""
        for position in self._others():
            if position.space == self._space:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(position.pid)
                    if process.status() == psutil.STATUS_STOPPED:
                        process.kill()
        remove_stale_buffers()
        sys.stdout.flush()
        os._exit(code)


def _comes_from_communication(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(part in frame.filename for frame in frames for part in WAITING_IN)


def _stack(thread: int | None) -> Iterator[FrameType]:
    frame = sys._current_frames().get(thread or 0)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _waits_for_others(thread: int | None) -> bool:
    innermost = [frame.f_code.co_filename for _, frame in zip(range(4), _stack(thread), strict=False)]
    return any(part in name for name in innermost for part in WAITING_IN)


def _place_of(thread: int | None) -> str:
    frame = next(_stack(thread), None)
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
