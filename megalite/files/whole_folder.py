"""Writes a folder that appears under its name only when it is complete."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from megalite.config.errors import DataError
from megalite.files.own_folder import MARK, check_ours, clear, is_ours, own_folder, remove_ours
from megalite.files.place import absolute, beside, check_place

NEW, OLD = "new", "old"
"""Inside ``OUTPUT.partial``: the new folder, and briefly the one that it replaces."""


def check_output(output: Path, written: Sequence[str], overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuses an output folder that must not be replaced or cannot be written, before any work.

    Args:
        written: patterns of the files that the command writes, relative to ``output``. The first is a file of every
            finished output: ``overwrite`` replaces only a folder that has it and contains nothing but regular files of
            these names.
        inputs: the inputs of the command; see :func:`megalite.files.place.refuse_inputs`.

    Raises: DataError; OSError.
    """
    check_place(output, inputs)
    check_ours(_temporary(output))
    _restore(output)
    if not os.path.lexists(output):
        return
    if output.is_symlink():
        raise DataError(f"{output}: is a link; give its target, or choose another --output")
    if not output.is_dir():
        raise DataError(f"{output}: is a file, but the output is a folder; choose another --output")
    names = sorted(_entries(output))
    if names and not overwrite:
        raise DataError(f"{output}: exists; choose another --output, or replace it with --overwrite")
    for name in names:
        if not _is_own(output, name, written):
            what = "the link " if (output / name).is_symlink() else ""
            raise DataError(
                f"{output}: contains {what}'{name}', which this command did not write; choose another --output"
            )
    if names and written[0] not in names:
        raise DataError(
            f"{output}: contains '{names[0]}' but no {written[0]}, so this command did not write it; choose another "
            f"--output"
        )


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Gives an empty folder that is flushed to disk and replaces ``output`` if the block ends without an error.

    Until then it is inside ``OUTPUT.partial``. After an error, ``output`` is unchanged and the temporary folder is gone.

    Raises: DataError if ``OUTPUT.partial`` is the user's, or if ``output`` was created meanwhile.
    """
    output = absolute(output)
    temporary = _temporary(output)
    with own_folder(temporary):
        _restore(output)
        clear(temporary)
        before = _inode(output)
        (temporary / NEW).mkdir()
        try:
            yield temporary / NEW
            flush_all(temporary / NEW)
            if (now := _inode(output)) not in (before, None):
                raise DataError(f"{output}: was created while this command was running; choose another --output")
            if now is not None:
                output.rename(temporary / OLD)
            (temporary / NEW).rename(output)
            flush(output.parent)
        finally:
            _restore(output)
            remove_ours(temporary)


def flush_all(folder: Path) -> None:
    """Flushes a folder and everything in it to disk."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def flush(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(output: Path) -> Path:
    return beside(output, ".partial")


def _restore(output: Path) -> None:
    """Moves an old output back to its name unless a new one is there."""
    old = _temporary(output) / OLD
    if is_ours(_temporary(output)) and old.is_dir() and not os.path.lexists(output):
        old.rename(output)


def _inode(path: Path) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if os.path.lexists(path) and (found := path.lstat()) else None


def _entries(folder: Path) -> Iterator[str]:
    """Lists all files, links and empty folders, relative to ``folder``; links are not followed."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            inner = [f"{entry.name}/{name}" for name in _entries(Path(entry.path))]
            yield from inner or [entry.name]
        elif entry.name != MARK:  # of a temporary folder in the output
            yield entry.name


def _is_own(folder: Path, name: str, written: Sequence[str]) -> bool:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return False
    parts = PurePath(name).parts
    return any(len(PurePath(each).parts) == len(parts) and PurePath(name).match(each) for each in written)
