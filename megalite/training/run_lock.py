"""A lock that allows one job at a time in a run folder, on one machine or on a shared file system.

The lock is ``runs/NAME/.lock``, locked by ``flock``; it names its owner (host, process, start, ranks). ``flock`` is enough
for the processes of one machine: the kernel releases it when its process ends. Not every network file system passes it on
to other machines, so the owner also touches the file every few seconds: a lock of another machine is valid until this stops.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from megalite.config.errors import ConfigError
from megalite.config.launch import read_launch
from megalite.training.supervision.machine import boot_id, process_space

LOCK = ".lock"
BEAT_SECONDS, STALE_SECONDS = 10.0, 120.0
"""How often the owner touches its lock, and after how long without a touch another machine may take it."""


@contextlib.contextmanager
def locked_run(run: Path, when_lost: Callable[[str], None]) -> Iterator[None]:
    """Lock the run folder while the block runs. One process of a job calls this, before it changes anything in the folder.

    Args:
        when_lost: called in a thread with a message if another machine has taken the lock, because this one was silent.

    Raises: ConfigError naming the job that holds the lock.
    """
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    run.mkdir(parents=True, exist_ok=True)
    descriptor = _take(run)
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(run, descriptor, over, when_lost), name="run lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        if _is_ours(run / LOCK, descriptor):
            (run / LOCK).unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty: it contains a run now
            for folder in made:
                folder.rmdir()


def _take(run: Path) -> int:
    """Open and lock the file, and write the owner. Returns the descriptor."""
    path = run / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            locks = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _held(run, _owner(descriptor)) from None
            except OSError:  # a file system without locks
                locks = False
            if not _is_ours(path, descriptor):  # its last owner removed it after we opened it
                os.close(descriptor)
                continue
            owner = _owner(descriptor)
            if owner and not _has_ended(owner, descriptor, locks):
                raise _held(run, owner)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_signature()).encode(), 0)
            return descriptor
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise


def _signature() -> dict[str, Any]:
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "space": process_space(),
        "pid": process.pid,
        "started": process.create_time(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "ranks": read_launch().world_size,
    }


def _owner(descriptor: int) -> dict[str, Any]:
    """The owner; empty if the lock was released, or if the owner was killed while it wrote."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return owner if isinstance(owner, dict) and owner.keys() == _signature().keys() else {}
    except ValueError:
        return {}


def _has_ended(owner: dict[str, Any], descriptor: int, locks: bool) -> bool:
    """Whether the owner has ended without a release."""
    if owner["boot"] == boot_id() and locks:
        return True  # flock covers all processes of a machine, and none holds it
    if owner["space"] == process_space():
        try:
            return psutil.Process(owner["pid"]).create_time() != owner["started"]
        except psutil.NoSuchProcess:
            return True
    return _silence(descriptor) > STALE_SECONDS


def _silence(descriptor: int) -> float:
    """Seconds since the owner touched the file, by the clock of the file system, which all machines share."""
    before = os.fstat(descriptor).st_mtime
    probe = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    try:
        os.pwrite(probe, os.pread(probe, 1, 0), 0)  # the same byte: only the time changes
        now = os.fstat(probe).st_mtime
        os.utime(probe, (before, before))
    finally:
        os.close(probe)
    return now - before


def _is_ours(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _held(run: Path, owner: dict[str, Any]) -> ConfigError:
    who = "another job"
    if owner:
        ranks = "1 rank" if owner["ranks"] == 1 else f"{owner['ranks']} ranks"
        who = f"the job of process {owner['pid']} on {owner['host']} ({ranks}, since {owner['since']})"
    return ConfigError(
        f"{run}: {who} uses this run folder; wait until it ends, or choose another name with run.name=..."
    )


def _beat(run: Path, descriptor: int, over: threading.Event, when_lost: Callable[[str], None]) -> None:
    signature = os.pread(descriptor, 4096, 0)
    while not over.wait(BEAT_SECONDS):
        if not _is_ours(run / LOCK, descriptor) or os.pread(descriptor, 4096, 0) != signature:
            when_lost(f"the loss of {run / LOCK}, which another job has taken")
            return
        os.utime(descriptor)
