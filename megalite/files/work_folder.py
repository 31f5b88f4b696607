"""The folder in which a long command keeps what it has done, so that it goes on after it was killed."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from megalite.config.errors import DataError

LOCK, PLAN = ".lock", "plan.json"


def work_folder_of(output: Path) -> Path:
    """The work folder of a command that writes ``output``: beside it, on the same disk."""
    output = output.resolve()
    return output.with_name(output.name + ".work")


def is_finished(output: Path, plan: str) -> bool:
    """Whether ``output`` was made by this plan; it is whole then."""
    return (output / PLAN).is_file() and (output / PLAN).read_text() == plan


def forget(folder: Path, plan: str) -> None:
    """Remove the work folder of a run that was killed between its last two steps."""
    if folder.exists():
        with work_folder(folder, plan):
            pass


@contextmanager
def work_folder(folder: Path, plan: str) -> Iterator[Path]:
    """Hold ``folder`` for one run of ``plan``; what a killed run of the same plan has left in it is still there.

    It is removed when the block ends without an error. Raises: DataError where another run holds it, or the disk is full.
    """
    with held_folder(folder, plan):
        yield folder
        shutil.rmtree(folder)


@contextmanager
def held_folder(folder: Path, plan: str) -> Iterator[Path]:
    """As :func:`work_folder`, and the folder stays."""
    with full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"{folder}: another run is at work in it; wait for it or end it, then try again"
                ) from None
            if not (folder / PLAN).is_file() or (folder / PLAN).read_text() != plan:
                for path in folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name != LOCK:
                        path.unlink()
                with whole_file(folder / PLAN) as file:
                    file.write(plan.encode())
            yield folder


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A full disk is told in one line. Raises: DataError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"{folder}: no space left on the disk; what is done is kept: make room and run the same command again"
        ) from None


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only when all of it is on the disk."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
