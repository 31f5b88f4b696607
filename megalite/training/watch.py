"""A rank that dies or hangs ends the whole job, with one sentence that says which and where.

Every rank watches all others through their position files (``megalite.training.progress``): a process of the same machine
that is gone or stopped is seen within a second, and a job in which no rank moves for the set time is ended in the name of
the rank that holds the others up.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil

from megalite.config.errors import ConfigError, DataError, DivergenceError
from megalite.training.progress import Position, Progress, read_position
from megalite.training.shared_memory import remove_stale_buffers

BEAT_SECONDS = 0.25
VERDICT = "verdict.txt"
END = "end"
"""The phase of a rank that has left in order."""
FAILED = 1
LOST = {psutil.STATUS_ZOMBIE: "has died", psutil.STATUS_DEAD: "has died", psutil.STATUS_STOPPED: "is stopped"}
WAITING_IN = ("torch/distributed/", "deepspeed/comm/")
"""Folders of the code in which a rank waits for others."""


class Watch:
    """A thread beside the training that never takes part in a collective."""

    def __init__(self, progress: Progress, folder: Path, world_size: int, timeout_seconds: float) -> None:
        """``folder`` is empty but for this job's position files, and shared by all machines."""
        self._progress, self._folder = progress, folder
        self._world_size, self._timeout = world_size, timeout_seconds
        self._host, self._rank = socket.gethostname(), progress.position().rank
        self._done = threading.Event()
        self._main = threading.main_thread().ident
        self._moved_at, self._moves = time.monotonic(), -1
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Watch while the block runs; an error in it is told with this rank's position, and ends the others."""
        self._progress.publish(self._folder)
        # The launcher ends the ranks that are left by SIGTERM; the wake-up lets the thread say why before it goes.
        previous = signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        except (ConfigError, DataError, DivergenceError):
            raise  # every rank raises it, and the entry says it in one line
        except Exception as error:
            self._give_up(error)
        finally:
            self._progress.at(END)
            self._done.set()
            thread.join()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, previous)

    def _run(self) -> None:
        while not self._done.is_set():
            ready, _, _ = select.select([self._wake_reader], [], [], BEAT_SECONDS)
            if (self._folder / VERDICT).exists():
                self._end()
            culprit = self._lost_rank() or self._rank_that_hangs()
            if culprit is not None:
                self._say(culprit)
                self._end()
            if ready:
                self._end()

    def _give_up(self, error: Exception) -> None:
        """End the job for an error in this rank, unless it only tells that another one is gone."""
        if _comes_from_communication(error):
            deadline = time.monotonic() + 10 * BEAT_SECONDS
            while time.monotonic() < deadline:  # the thread ends this process if it finds the rank that is to blame
                time.sleep(BEAT_SECONDS)
        traceback.print_exception(error)
        reason = (str(error).splitlines() or [""])[0]
        self._say(f"{self._progress.position()} failed: {type(error).__name__}: {reason}")
        self._end()

    def _lost_rank(self) -> str | None:
        """A rank of this machine whose process is gone or stopped."""
        for position in self._others():
            if position.host != self._host:
                continue
            try:
                state = LOST.get(psutil.Process(position.pid).status())
            except psutil.NoSuchProcess:
                state = "has died"
            if state is not None and position.phase != END:
                return f"{position} {state}"
        return None

    def _rank_that_hangs(self) -> str | None:
        positions = [*self._others(), self._progress.position()]
        moves = sum(position.moves for position in positions)
        if moves != self._moves:
            self._moves, self._moved_at = moves, time.monotonic()
            return None
        if time.monotonic() - self._moved_at < self._timeout:
            return None
        last = min((position.step, position.moves) for position in positions)
        behind = [position for position in positions if (position.step, position.moves) == last]
        if self._progress.position() in behind and not _waits_for_others(self._main):
            place = _place_of(self._main)
            return f"{self._progress.position()} hangs: nothing has moved for {self._timeout:g} s; it stands at {place}"
        if time.monotonic() - self._moved_at > self._timeout + 8 * BEAT_SECONDS:  # the one to blame has said nothing
            return f"{min(behind, key=lambda p: p.rank)} hangs: nothing has moved for {self._timeout:g} s"
        return None

    def _others(self) -> Iterator[Position]:
        for rank in range(self._world_size):
            if rank != self._rank and (position := read_position(self._folder / f"rank-{rank:05d}.json")) is not None:
                yield position

    def _say(self, sentence: str) -> None:
        """Tell it once for the whole job."""
        try:
            with (self._folder / VERDICT).open("x", encoding="utf-8") as file:
                file.write(sentence + "\n")
        except FileExistsError:
            return
        print(
            f"megalite: error: {sentence}; resume from the last checkpoint with --resume", file=sys.stderr, flush=True
        )

    def _end(self) -> None:
        """Leave at once, and take the stopped ranks of this machine along: they cannot leave by themselves."""
        for position in self._others():
            if position.host == self._host:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(position.pid)
                    if process.status() == psutil.STATUS_STOPPED:
                        process.kill()
        remove_stale_buffers()
        sys.stdout.flush()
        os._exit(FAILED)


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
