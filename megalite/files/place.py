"""Checks, before the work begins, that an output can be written and does not replace an input."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from megalite.config.errors import ConfigError, DataError

LONGEST_SUFFIX = ".12345678.partial"
"""The longest suffix of an output's temporary name."""


def absolute(output: Path) -> Path:
    """Returns the absolute path without ``.`` and ``..``; a link is not resolved. Raises: DataError."""
    place = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow a link
    if not place.name:
        raise DataError(f"{output}: is the root folder; choose another output")
    if "\0" in str(place) or not _is_text(str(place)):
        raise DataError(f"{str(output)!r}: is not valid UTF-8; choose another output")
    return place


def beside(output: Path, suffix: str) -> Path:
    """Returns ``OUTPUT`` with ``suffix`` appended: a temporary path on the same disk."""
    place = absolute(output)
    return place.with_name(place.name + suffix)


def check_place(output: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuses an output that would replace an input or cannot be written.

    Raises: DataError; the OSError that writing would raise.
    """
    refuse_inputs(output, inputs)
    check_writable(output)


def check_output_file(output: Path, inputs: Iterable[str | Path] = (), overwrite: bool | None = None) -> None:
    """Refuses an output file that must not be replaced or cannot be written.

    Args:
        overwrite: the command's ``--overwrite``; None if it has no such option.

    Raises: ConfigError if the output exists; DataError if it is an input; OSError.
    """
    check_place(output, inputs)
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_file():
        what = "a link" if output.is_symlink() else "not a file"
        raise ConfigError(f"{output}: is {what}, but the output is a file; choose another name")
    if not overwrite:
        remedy = "remove it first" if overwrite is None else "give --overwrite"
        raise ConfigError(f"{output}: exists; choose another name, or {remedy}")


def refuse_inputs(output: Path, inputs: Iterable[str | Path]) -> None:
    """Refuses an output that is an input, contains one, or is inside an input folder; links are followed.

    Inputs that do not exist as files, such as the name of a model on the hub, are ignored. Raises: DataError.
    """
    place = Path(os.path.realpath(output))
    own = _identity(output)
    for source in inputs:
        if (identity := _identity(source)) is None:
            continue
        read = Path(os.path.realpath(source))
        if place == read or identity == own:
            why = f"is the input {source}"
        elif place in read.parents:
            why = f"contains the input {source}"
        elif read in place.parents and read.is_dir():
            why = f"is inside the input {source}"
        else:
            continue
        raise DataError(f"{output}: {why}; choose another output")


def check_writable(output: Path) -> None:
    """Refuses an output that cannot be written: a read-only folder, a file as parent, too long a name, a full disk.

    Raises: OSError that names ``output``; DataError.
    """
    place = absolute(output)
    temporary = place.with_name(f".{place.name}{LONGEST_SUFFIX}")
    try:
        parent = next(folder for folder in place.parents if os.path.lexists(folder))
        longest = os.pathconf(parent, "PC_NAME_MAX")
        if any(len(os.fsencode(name)) > longest for name in temporary.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryFile(dir=parent, buffering=0) as probe:
            probe.write(b"\0")  # on a full disk an empty file can be created, but not written
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from None


def _is_text(name: str) -> bool:
    """Whether a path is valid UTF-8; Python represents other bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Returns device and inode, which are the same for all names of a file; None if it does not exist."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
