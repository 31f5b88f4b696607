"""Digests of a unit's documents on disk; equal ones among all units are found one range of digests at a time."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megalite.corpus.words.words import content_digest
from megalite.jobs.notes import read_array, write_array


class UnitDigests:
    """Collected while a unit is read: 28 bytes a document."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._paths, self._lines = array("q"), array("q")

    def add(self, text: str, path: int, line: int) -> None:
        """Add the next document; ``path`` is the number of its path in the unit."""
        self._digests += content_digest(text)
        self._paths.append(path)
        self._lines.append(line)

    def write(self, folder: Path, unit: int) -> None:
        """``digests-UNIT.npy``: sorted columns high, low, position. ``places-UNIT.npy``: path and line by position."""
        halves = np.frombuffer(self._digests, "<u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        columns = np.stack((halves[order, 0], halves[order, 1], order.astype(np.uint64)))
        places = np.array((self._paths, self._lines), np.int64)
        for name, values in (("digests", columns), ("places", places)):
            write_array(folder / f"{name}-{unit:05d}.npy", values)


def place_of(folder: Path, unit: int, position: int) -> tuple[int, int]:
    """The number of the path and the line of a document."""
    path, line = read_array(folder / f"places-{unit:05d}.npy")[:, position].tolist()
    return path, line


def later_copies(folder: Path, units: Sequence[int], part: int, parts: int) -> npt.NDArray[np.int64]:
    """``(4, copies)`` sorted columns: unit and position of every document that equals an earlier one, and those of the
    first equal one. Only digests in one of ``parts`` equal ranges are compared.
    """
    low, high = (np.uint64(2**64 * part // parts), np.uint64(2**64 * (part + 1) // parts - 1))
    found = [np.empty((4, 0), np.uint64)]
    for unit in units:
        columns = read_array(folder / f"digests-{unit:05d}.npy")
        begin = int(np.searchsorted(columns[0], low, side="left"))
        end = int(np.searchsorted(columns[0], high, side="right"))
        found.append(np.concatenate((columns[:, begin:end], np.full((1, end - begin), unit, np.uint64))))
    highs, lows, positions, owners = np.concatenate(found, axis=1)
    order = np.lexsort((positions, owners, lows, highs))
    highs, lows, positions, owners = (column[order] for column in (highs, lows, positions, owners))
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (highs[1:] != highs[:-1]) | (lows[1:] != lows[:-1])
    firsts = np.flatnonzero(is_first)[np.cumsum(is_first) - 1] if len(order) else np.empty(0, np.int64)
    copies = np.flatnonzero(~is_first)
    twins = firsts[copies]
    columns = np.stack((owners[copies], positions[copies], owners[twins], positions[twins])).astype(np.int64)
    return columns[:, np.lexsort((columns[1], columns[0]))]
