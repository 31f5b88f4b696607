"""Signals and the end of the launcher become requests to stop.

While the ranks vote (``Requests.decided_by_vote``), ``SIGTERM``, ``SIGUSR1``, Ctrl-C and a launcher that has ended are a
request for the next vote, so that all ranks save the same step and stop. Before and after that they end the process at
once. A second Ctrl-C always ends it at once.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import FrameType

import psutil

from megalite.config.errors import Stopped
from megalite.training.save_or_stop import Request, Requests
from megalite.training.supervision.launcher import launcher_processes

SIGNALS = {
    signal.SIGINT: (Request.STOP, "Ctrl-C"),
    signal.SIGTERM: (Request.STOP, "SIGTERM"),
    signal.SIGUSR1: (Request.STOP, "SIGUSR1"),
}
START_AGAIN = "run the same command again to resume"
POLL_SECONDS = 1.0
"""How often to look at the launcher if the kernel has no file descriptors of processes (before Linux 5.3)."""
SECONDS_TO_LEAVE = 10.0
"""For a process in which nobody votes, before it is ended without its own clean-up."""


@contextlib.contextmanager
def listening() -> Iterator[Requests]:
    """Turn signals into requests while the block runs. A request to stop raises Stopped in it unless the ranks vote."""
    requests = Requests()
    with _Listener(requests).listens():
        yield requests


class _Listener:
    """Signal handlers, and a thread that sees signals even while the interpreter waits in a library."""

    def __init__(self, requests: Requests) -> None:
        self._requests, self._launcher = requests, _open_launcher()
        self._has_raised = False
        self._over = threading.Event()
        self._interrupts = 0
        self._mask: set[int | signal.Signals] | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    @contextlib.contextmanager
    def listens(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        owner = os.getpid()
        os.register_at_fork(
            before=self._hold_signals,
            after_in_parent=self._release_signals,
            after_in_child=lambda: self._forget(previous),
        )
        threading.Thread(target=self._run, name="signals", daemon=True).start()
        try:
            yield
        finally:
            if os.getpid() == owner:
                self._over.set()
                signal.set_wakeup_fd(wakeup)
                for number, handler in previous.items():
                    signal.signal(number, handler)
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_writer, b"\0")

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """In the main thread, as soon as it is back in the interpreter."""
        self._ask(number)
        if self._ends_now() and not self._has_raised:
            self._has_raised = True
            raise self._requests.stopped(START_AGAIN)

    def _run(self) -> None:
        """Wait for signals, and for the end of a launcher process."""
        polls = any(descriptor < 0 for descriptor in self._launcher)
        descriptors = [self._wake_reader, *(descriptor for descriptor in self._launcher if descriptor >= 0)]
        while not self._over.is_set():
            ready, _, _ = select.select(descriptors, [], [], POLL_SECONDS if polls else None)
            if self._wake_reader in ready:
                self._read_signals()
            if set(ready) - {self._wake_reader} or (polls and not all(map(_is_alive, self._launcher.values()))):
                self._requests.ask(Request.STOP, "the end of its launcher")
                if self._ends_now():  # let the main thread raise
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                descriptors, polls = [self._wake_reader], False
            if self._ends_now() and not self._over.wait(SECONDS_TO_LEAVE):
                _say(str(self._requests.stopped(START_AGAIN)))  # the main thread does not come back from a library
                os._exit(self._requests.exit_code)

    def _read_signals(self) -> None:
        for number in os.read(self._wake_reader, 512):
            if number in SIGNALS:
                self._ask(number)
            self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            _say("stopped at once by a second Ctrl-C; the last checkpoint stands")
            os._exit(128 + signal.SIGINT)

    def _ask(self, number: int) -> None:
        request, name = SIGNALS[signal.Signals(number)]
        self._requests.ask(request, name, number)

    def _ends_now(self) -> bool:
        return self._requests.stop_reason is not None and not self._requests.wait_for_vote

    def _hold_signals(self) -> None:
        """Before a fork: a signal to the child waits until the child has its own handlers."""
        if not self._over.is_set():
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def _release_signals(self) -> None:
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._mask = None

    def _forget(self, previous: Mapping[signal.Signals, object]) -> None:
        """In a forked child: its signals are its own."""
        if not self._over.is_set():
            signal.set_wakeup_fd(-1)
            for number in previous:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._release_signals()


def _open_launcher() -> dict[int, psutil.Process]:
    """Process descriptor -> process of the launcher. A negative number stands for a missing descriptor."""
    opened: dict[int, psutil.Process] = {}
    try:
        for number, process in enumerate(launcher_processes(), start=1):
            try:
                descriptor = os.pidfd_open(process.pid)
            except (AttributeError, OSError):
                descriptor = -number
            opened[descriptor] = process
            if not _is_alive(process):
                raise ProcessLookupError
    except (ProcessLookupError, psutil.Error):
        raise Stopped("stopped: its launcher has ended already", 128 + signal.SIGTERM) from None
    return opened


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _say(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"megalite: {line}", file=sys.stderr, flush=True)
