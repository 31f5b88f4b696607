"""Reading what an earlier step has left in a work folder; a file that is damaged costs one line and names the remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from megalite.config.errors import DataError

Made = TypeVar("Made")


def read_note(path: Path, make: Callable[[Any], Made]) -> Made:
    """What ``make`` gives for the JSON in a file. Raises: DataError where it is not what was written."""
    try:
        return make(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from None


def read_array(path: Path) -> npt.NDArray[Any]:
    """The array in a ``.npy`` file, mapped. Raises: DataError where it is damaged."""
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, TypeError) as error:
        raise _damaged(path, error) from None
    if not isinstance(found, np.ndarray):
        raise _damaged(path, ValueError("an archive"))
    return found


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return DataError(f"{path}: damaged ({reason}); remove the work folder that it is in and run the command again")
