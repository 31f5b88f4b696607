"""A folder of results that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from megalite.config.errors import DataError


def check_output(output: Path, written: Sequence[str], overwrite: bool) -> None:
    """Refuse an output folder that must not be replaced, before any work.

    Args:
        written: patterns of the names that the command itself writes; ``overwrite`` replaces a folder of these only.

    Raises: DataError.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"{output}: is a file, and a folder is to be written; choose another --output")
    names = sorted(path.name for path in output.iterdir())
    if names and not overwrite:
        raise DataError(f"{output}: exists; choose another --output, or replace it with --overwrite")
    foreign = [name for name in names if not any(fnmatch(name, pattern) for pattern in written)]
    if foreign:
        raise DataError(
            f"{output}: holds '{foreign[0]}', which is not of this command and would be lost; choose another --output"
        )


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A ``.partial`` folder to fill; flushed to disk and renamed to ``output`` if the block ends without an error.

    What stood at ``output`` goes only then; after an error it is as it was, and nothing else is left.
    """
    output = output.resolve()
    partial, replaced = (output.with_name(output.name + suffix) for suffix in (".partial", ".replaced"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        flush_all(partial)
    except BaseException:
        shutil.rmtree(partial)
        raise
    if output.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        output.rename(replaced)
    partial.rename(output)
    flush(output.parent)
    shutil.rmtree(replaced, ignore_errors=True)


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
