"""Temporary folders with a marker file. A folder without the marker belongs to the user and is never changed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megalite.config.errors import DataError

MARK = ".megalite"
"""Marker file in a temporary folder; the process that uses the folder holds a lock on it."""


def is_ours(folder: Path) -> bool:
    """Whether megalite created this temporary folder."""
    return not folder.is_symlink() and _is_plain_file(folder / MARK)


def check_ours(folder: Path) -> None:
    """Raises: DataError if something of the user's is at the path of a temporary folder; an empty folder is accepted."""
    if not os.path.lexists(folder) or is_ours(folder):
        return
    if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
        raise DataError(
            f"{folder}: was not created by megalite, which needs this name for temporary files; rename it, or choose "
            f"another output"
        )


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Locks ``folder`` for the block and creates it if necessary. Files of an earlier run are still in it.

    Raises: DataError if the folder is the user's or another run has locked it.
    """
    check_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "wb") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = is_ours(folder)  # else the run that held the lock has just removed the folder
        except BlockingIOError:
            is_free = False
        if not is_free:
            raise DataError(f"{folder}: is in use by another run; wait for it or stop it, then try again")
        yield folder


def claim(folder: Path) -> None:
    """Creates an empty temporary folder; files of an earlier run are removed. Raises: DataError."""
    with own_folder(folder):
        clear(folder)


def clear(folder: Path) -> None:
    """Empties a temporary folder except for its marker; links are removed, never followed."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()


def remove_ours(folder: Path) -> None:
    """Removes a temporary folder, the marker last. Does nothing if it is not ours."""
    if is_ours(folder):
        clear(folder)
        (folder / MARK).unlink()
        folder.rmdir()


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
