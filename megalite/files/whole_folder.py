"""A folder of results that is there whole or not at all."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from megalite.config.errors import DataError
from megalite.files.own_folder import MARK, check_ours, clear, is_ours, own_folder, remove_ours
from megalite.files.place import absolute, beside, check_place

NEW, OLD = "new", "old"
"""In ``OUTPUT.partial``: what is written, and for a moment what it replaces."""


def check_output(output: Path, written: Sequence[str], overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse an output folder that must not be replaced or cannot be written, before any work.

    Args:
        written: patterns of the files that the command itself writes, relative to ``output``. The first is a file that
            every finished output of the command has: ``overwrite`` replaces only a folder that has it, and holds nothing
            but regular files of these names.
        inputs: what the command reads; see :func:`megalite.files.place.refuse_inputs`.

    Raises: DataError; OSError.
    """
    check_place(output, inputs)
    check_ours(_temporary(output))
    _restore(output)
    if not os.path.lexists(output):
        return
    if output.is_symlink():
        raise DataError(f"{output}: is a link; give the folder that it leads to, or choose another --output")
    if not output.is_dir():
        raise DataError(f"{output}: is a file, and a folder is to be written; choose another --output")
    names = sorted(_entries(output))
    if names and not overwrite:
        raise DataError(f"{output}: exists; choose another --output, or replace it with --overwrite")
    for name in names:
        if not _is_own(output, name, written):
            what = "the link " if (output / name).is_symlink() else ""
            raise DataError(
                f"{output}: holds {what}'{name}', which is not of this command and would be lost; choose another --output"
            )
    if names and written[0] not in names:
        raise DataError(
            f"{output}: holds '{names[0]}' but no {written[0]}, so it is not of this command and would be lost; choose "
            f"another --output"
        )


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A folder to fill; flushed to disk and renamed to ``output`` if the block ends without an error.

    Until then it is in ``OUTPUT.partial``. What stood at ``output`` goes when the new folder has its name; after an error
    it is as it was, and nothing else is left.

    Raises: DataError where ``OUTPUT.partial`` is the user's, or where something new stands at ``output`` in the end.
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
                raise DataError(f"{output}: appeared while this command was at work; choose another --output")
            if now is not None:
                output.rename(temporary / OLD)
            (temporary / NEW).rename(output)
            flush(output.parent)
        finally:
            _restore(output)
            remove_ours(temporary)


def flush_all(folder: Path) -> None:
    """Force a folder and everything in it to the disk."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def flush(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(output: Path) -> Path:
    return beside(output, ".partial")


def _restore(output: Path) -> None:
    """An old output that was moved aside gets its name back, where no new one has it."""
    old = _temporary(output) / OLD
    if is_ours(_temporary(output)) and old.is_dir() and not os.path.lexists(output):
        old.rename(output)


def _inode(path: Path) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if os.path.lexists(path) and (found := path.lstat()) else None


def _entries(folder: Path) -> Iterator[str]:
    """Names of all files and links, and of empty folders, relative to ``folder``; links are not followed."""
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
