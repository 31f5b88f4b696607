"""Files with which a step leaves results to later steps in a work folder; a damaged one is an error of one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from megalite.config.errors import DataError
from megalite.files.whole_file import whole_file

Made = TypeVar("Made")


def write_note(path: Path, values: Any) -> None:
    """Write JSON for :func:`read_note`; the file appears when it is complete."""
    with whole_file(path) as file:
        file.write(json.dumps(values).encode())


def write_array(path: Path, values: npt.NDArray[Any]) -> None:
    """Write an array for :func:`read_array`; the file appears when it is complete."""
    with whole_file(path) as file:
        np.save(file, values)


def read_note(path: Path, make: Callable[[Any], Made]) -> Made:
    """``make`` applied to the JSON in a file. Raises: DataError if the file is damaged."""
    try:
        return make(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from None


def read_array(path: Path) -> npt.NDArray[Any]:
    """The array in a ``.npy`` file, memory-mapped. Raises: DataError if it is damaged."""
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, TypeError) as error:
        raise _damaged(path, error) from None
    if not isinstance(found, np.ndarray):
        raise _damaged(path, ValueError("an archive"))
    return found


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return DataError(f"{path}: damaged ({reason}); remove its work folder and run the command again")
