"""The folder in which a long command keeps finished work, so that it resumes after it was killed."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megalite.config.errors import DataError
from megalite.files.own_folder import clear, is_ours, own_folder, remove_ours
from megalite.files.place import beside
from megalite.files.whole_file import whole_file

PLAN = "plan.json"


def work_folder_of(output: Path) -> Path:
    """The work folder of a command that writes ``output``: beside it, on the same disk."""
    return beside(output, ".work")


def is_finished(output: Path, plan: str) -> bool:
    """Whether ``output`` was made by this plan, and is therefore complete."""
    return (output / PLAN).is_file() and (output / PLAN).read_text() == plan


def forget(folder: Path) -> None:
    """Remove the work folder of a run that was killed between its last two steps, unless it is the user's."""
    if is_ours(folder):
        with own_folder(folder):
            remove_ours(folder)


def resume_message(folder: Path, plan: str) -> str | None:
    """A message about the work of an earlier run in the work folder; None if there is none."""
    if not (is_ours(folder) and (folder / PLAN).is_file()):
        return None
    if is_finished(folder, plan):
        return f"{folder}: resuming a run that was stopped"
    return f"{folder}: belongs to other inputs or options, starting over"


@contextmanager
def work_folder(folder: Path, plan: str) -> Iterator[Path]:
    """Hold ``folder`` for one run of ``plan``. Work that a killed run of the same plan left in it is still there.

    It is removed when the block ends without an error.

    Raises: DataError if the folder is the user's, another run holds it, or the disk is full.
    """
    with held_folder(folder, plan):
        yield folder
        remove_ours(folder)


@contextmanager
def held_folder(folder: Path, plan: str) -> Iterator[Path]:
    """Like :func:`work_folder`, but the folder stays."""
    with full_disk(folder), own_folder(folder):
        if not is_finished(folder, plan):
            clear(folder)
            with whole_file(folder / PLAN) as file:
                file.write(plan.encode())
        yield folder


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk into a DataError that names ``folder``."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DataError(
            f"{folder}: no space left on the disk; finished work is kept: make room and run the same command again"
        ) from None
