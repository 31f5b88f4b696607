"""The folder in which a long command keeps what it has done, so that it goes on after it was killed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from megalite.config.errors import DataError

LOCK, PLAN = ".lock", "plan.json"


@contextmanager
def work_folder(folder: Path, plan: str) -> Iterator[Path]:
    """Hold ``folder`` for one run of ``plan``; what a killed run of the same plan has left in it is still there.

    It is removed when the block ends without an error. Raises: DataError where another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another run is at work in it; wait for it or end it, then try again") from None
        if not (folder / PLAN).is_file() or (folder / PLAN).read_text() != plan:
            for path in folder.iterdir():
                if path.name != LOCK:
                    path.unlink()
            with whole_file(folder / PLAN) as file:
                file.write(plan.encode())
        yield folder
        shutil.rmtree(folder)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only when all of it is on the disk."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
