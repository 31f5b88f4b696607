"""A request to save and end: by a signal, by the end of the launcher, or by a file.

``SIGTERM``, ``SIGUSR1``, Ctrl-C, a launcher that is gone and ``runs/NAME/.ranks/stop`` mean the same. While a run
trains, the request is a flag: the ranks vote on it where a step begins, so that all of them save the same
step and end. Before and after that it ends the process at once. A second Ctrl-C never waits.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self

import psutil

from megalite.config.errors import Stopped
from megalite.training.supervision.launcher import launcher_processes

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1"}
STOP_FILE = "stop"
START_AGAIN = "run the same command again to go on"
POLL_SECONDS = 1.0
"""How often the launcher is looked at where the kernel has no file descriptors of processes (before Linux 5.3)."""
SECONDS_TO_LEAVE = 10.0
"""For a process that does not train, before it is ended without its own clean-up."""


class Stop:
    """What this process was asked to do; the thread behind it sees signals even while the interpreter waits in a library."""

    def __init__(self) -> None:
        """Nothing is watched before the object is called."""
        self.reason: str | None = None
        """By what the run was asked to end: ``SIGTERM``, ``Ctrl-C``, ``the end of its launcher`` ..."""
        self.exit_code = 128 + signal.SIGTERM
        self.is_agreed = False
        """Whether all ranks have voted to end, and do so together."""
        self._waits_for_step = self._has_raised = False
        self._over = threading.Event()
        self._interrupts = 0
        self._mask: set[signal.Signals] | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Self]:
        """Listen while the block runs; a request raises Stopped in it, but within ``until_the_step_ends``."""
        launcher = _open_launcher()
        previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        owner = os.getpid()
        os.register_at_fork(
            before=self._hold_signals,
            after_in_parent=self._release_signals,
            after_in_child=lambda: self._forget(previous),
        )
        threading.Thread(target=self._run, args=(launcher,), name="stop", daemon=True).start()
        try:
            yield self
        finally:
            if os.getpid() == owner:
                self._over.set()
                signal.set_wakeup_fd(wakeup)
                for number, handler in previous.items():
                    signal.signal(number, handler)
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_writer, b"\0")

    @contextlib.contextmanager
    def until_the_step_ends(self) -> Iterator[None]:
        """In this block, and after an error in it, a request only sets ``reason``; whoever runs it has to look."""
        self._waits_for_step = True
        yield
        self._waits_for_step = False

    def ask(self, reason: str, number: int = signal.SIGTERM) -> None:
        """Ask this process to end; the first reason stays."""
        if self.reason is None:
            self.reason, self.exit_code = reason, 128 + number

    def stopped(self, what_is_left: str) -> Stopped:
        """The error that ends the process: ``stopped by SIGTERM; saved runs/a/step-000012 ...``."""
        return Stopped(f"stopped by {self.reason or 'another rank'}; {what_is_left}", self.exit_code)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """In the main thread, as soon as it is back in the interpreter."""
        self.ask(SIGNALS[signal.Signals(number)], number)
        if not self._waits_for_step and not self._has_raised:
            self._has_raised = True
            raise self.stopped(START_AGAIN)

    def _run(self, launcher: dict[int, psutil.Process]) -> None:
        """Wait for signals, and for the end of a launcher process."""
        polls = any(descriptor < 0 for descriptor in launcher)
        descriptors = [self._wake_reader, *(descriptor for descriptor in launcher if descriptor >= 0)]
        while not self._over.is_set():
            ready, _, _ = select.select(descriptors, [], [], POLL_SECONDS if polls else None)
            if self._wake_reader in ready:
                self._read_signals()
            if set(ready) - {self._wake_reader} or (polls and not all(map(_is_alive, launcher.values()))):
                self.ask("the end of its launcher")
                if not self._waits_for_step:  # let the main thread raise
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                descriptors, polls = [self._wake_reader], False
            if self.reason is not None and not self._waits_for_step and not self._over.wait(SECONDS_TO_LEAVE):
                _say(str(self.stopped(START_AGAIN)))  # the main thread does not come back from a library
                os._exit(self.exit_code)

    def _read_signals(self) -> None:
        for number in os.read(self._wake_reader, 512):
            if number in SIGNALS:
                self.ask(SIGNALS[signal.Signals(number)], number)
            self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            _say("stopped at once by a second Ctrl-C; the last checkpoint stands")
            os._exit(128 + signal.SIGINT)

    def _hold_signals(self) -> None:
        """Before a fork: a signal to the child waits until the child's handlers are its own."""
        if not self._over.is_set():
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def _release_signals(self) -> None:
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._mask = None

    def _forget(self, previous: dict[int, signal.Handlers]) -> None:
        """In a forked child: its signals are its own."""
        if not self._over.is_set():
            signal.set_wakeup_fd(-1)
            for number in previous:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._release_signals()


def _open_launcher() -> dict[int, psutil.Process]:
    """Each process of the launcher under a descriptor that tells its end; negative numbers where there are none."""
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
