"""Whether an output can be written where it is to stand, and would not take an input's place; asked before the work."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from megalite.config.errors import ConfigError, DataError

LONGEST_SUFFIX = ".12345678.partial"
"""What is added to an output's name while it is written."""


def absolute(output: Path) -> Path:
    """``output`` without ``.`` and ``..``; a link at its end stays one. Raises: DataError."""
    place = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow a link
    if not place.name:
        raise DataError(f"{output}: is the root folder; choose another place for the output")
    if "\0" in str(place) or not _is_text(str(place)):
        raise DataError(f"{str(output)!r}: is no text in UTF-8; choose another name for the output")
    return place


def beside(output: Path, suffix: str) -> Path:
    """The temporary ``OUTPUT.suffix`` beside an output, on the same disk."""
    place = absolute(output)
    return place.with_name(place.name + suffix)


def check_place(output: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse an output that would replace an input, or that this process cannot write.

    Raises: DataError; OSError of the kind that the writing would have raised.
    """
    refuse_inputs(output, inputs)
    check_writable(output)


def check_output_file(output: Path, inputs: Iterable[str | Path] = (), overwrite: bool | None = None) -> None:
    """Refuse an output file that must not be replaced or cannot be written, before any work.

    Args:
        overwrite: whether the command was given ``--overwrite``; None where it has no such option.

    Raises: ConfigError where something stands there; DataError where it is an input; OSError.
    """
    check_place(output, inputs)
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_file():
        what = "a link" if output.is_symlink() else "no file"
        raise ConfigError(f"{output}: is {what}, and a file is to be written; choose another name")
    if not overwrite:
        remedy = "remove it first" if overwrite is None else "give --overwrite"
        raise ConfigError(f"{output}: exists; choose another name, or {remedy}")


def refuse_inputs(output: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse an output that is an input, holds one, or lies inside an input folder; links are followed.

    Inputs that are not there, such as a model's name on the hub, are passed over. Raises: DataError.
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
            why = f"holds the input {source}"
        elif read in place.parents and read.is_dir():
            why = f"lies in the input {source}"
        else:
            continue
        raise DataError(f"{output}: {why}; choose another place for the output")


def check_writable(output: Path) -> None:
    """Refuse an output whose folder cannot be made or written: read-only, below a file, too long a name, a full disk.

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
            probe.write(b"\0")  # a full disk takes a new file, and no byte in it
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from None


def _is_text(name: str) -> bool:
    """Whether a path can be written down; the bytes of one that is no UTF-8 are kept as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Device and inode, the same under every name of a file; None where nothing is there."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
