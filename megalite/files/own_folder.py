"""Temporary folders that are ours by a mark in them; whatever has none is somebody else's and is never touched."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megalite.config.errors import DataError

MARK = ".megalite"
"""The file in a temporary folder that says whose it is; a lock on it says who is at work there."""


def is_ours(folder: Path) -> bool:
    """Whether a command of ours has made this temporary folder."""
    return not folder.is_symlink() and _is_plain_file(folder / MARK)


def check_ours(folder: Path) -> None:
    """Refuse a path for a temporary folder at which something of the user's stands; an empty folder may be taken.

    Raises: DataError.
    """
    if not os.path.lexists(folder) or is_ours(folder):
        return
    if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
        raise DataError(
            f"{folder}: is not of this command, which needs this name for its temporary files; rename it, or choose "
            f"another place for the output"
        )


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Hold ``folder``, made where it is not there, for the block; what an earlier run of ours has left is still in it.

    Raises: DataError where it is the user's, or where another run holds it.
    """
    check_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "wb") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_over = is_ours(folder)  # else the run that held it has just removed it
        except BlockingIOError:
            is_over = False
        if not is_over:
            raise DataError(f"{folder}: another run is at work in it; wait for it or end it, then try again")
        yield folder


def claim(folder: Path) -> None:
    """Make ``folder`` new, empty and ours; what an earlier run of ours has left is removed. Raises: DataError."""
    with own_folder(folder):
        clear(folder)


def clear(folder: Path) -> None:
    """Empty a folder of ours but for its mark; links in it are removed, never followed."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()


def remove_ours(folder: Path) -> None:
    """Remove a folder of ours, its mark last; one that is not ours stays."""
    if is_ours(folder):
        clear(folder)
        (folder / MARK).unlink()
        folder.rmdir()


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
