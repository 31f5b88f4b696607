"""The steps of a deduplication, each over worker processes and each remembered in the work folder."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from megalite.config.errors import DataError
from megalite.corpus.dedup.clusters import REMOVED, Settled, bucket_edges, join, roots, settle
from megalite.corpus.dedup.crowd import CROWD
from megalite.corpus.dedup.lsh_index import LshIndex, Part
from megalite.corpus.dedup.scan import Plan, Scanned, scan_unit, scanned_parts
from megalite.corpus.dedup.write import write_unit
from megalite.corpus.units.unit_books import Written, refuse_unreadable
from megalite.corpus.words.word_hashes import Offsets
from megalite.files.whole_file import whole_file
from megalite.jobs.notes import read_array, read_note
from megalite.jobs.process_pool import WorkerPool

BYTES_A_DOCUMENT = 24
"""Held for every document while clusters are made."""
BYTES_A_CANDIDATE = 2048
"""Held for every document of the clusters that are being settled."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Outcome(NamedTuple):
    """What the steps have found and written."""

    scanned: list[Scanned]
    written: list[Written]
    compared: int
    """Pairs whose n-grams were compared."""


class DedupRun:
    """One deduplication in its work folder."""

    def __init__(self, plan: Plan, folder: Path, workers: int, memory_bytes: int, console: Console) -> None:
        """``memory_bytes`` is one worker's share."""
        self._plan, self._folder = plan, folder
        self._workers, self._memory = workers, memory_bytes
        self._pool = WorkerPool(workers)
        self._progress = Progress(
            TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip

    def run(self, known: Sequence[Part], max_malformed: float | None = None) -> Outcome:
        """Scan, find, write. ``known`` are the parts of earlier dumps. Raises: DataError."""
        with self._progress, self._pool:
            units = range(len(self._plan.inputs.units))
            scanned = self._map("hashing", functools.partial(scan_unit, self._plan, self._folder), units)
            examples = [example for unit in scanned for example in unit.examples]
            read, malformed = (sum(counts) for counts in zip(*(unit[:2] for unit in scanned), strict=True))
            refuse_unreadable(self._folder, self._plan.inputs, read, malformed, examples, max_malformed)
            first = sum(part.documents for part in known)
            own = scanned_parts(self._plan, self._folder, [unit.documents for unit in scanned], first)
            removed, compared = self._remembered([*known, *own], first)
            slices = [_slice(removed, part) for part in own]
            index = LshIndex([*known, *own], first)
            write = functools.partial(_write, self._plan, self._folder, index)
            written = self._map("writing", write, list(zip(units, own, slices, strict=True)))
        return Outcome(scanned, written, compared)

    def _remembered(self, parts: list[Part], known: int) -> tuple[npt.NDArray[Any], int]:
        """``REMOVED`` records sorted by document, and the number of comparisons; of an earlier run if it got so far."""
        path, books = self._folder / "removed.npy", self._folder / "removed.json"
        if not books.is_file():
            settled = self._find(LshIndex(parts, known))
            with whole_file(path) as file:
                np.save(file, settled.removed)
            with whole_file(books) as file:
                file.write(json.dumps({"compared": settled.compared}).encode())
        return read_array(path), read_note(books, lambda values: int(values["compared"]))

    def _find(self, index: LshIndex) -> Settled:
        check_memory(index, self._memory * self._workers)
        parents = np.arange(index.documents)
        edges = functools.partial(save_edges, index, self._folder, self._memory)
        for path in self._map("buckets", edges, range(self._plan.columns)):
            join(parents, read_array(path))
            path.unlink()
        documents, ends = hanging_together(parents)
        del parents
        pieces = [(np.sort(documents[a:b]), c) for a, b, c in batches(ends, self._memory // BYTES_A_CANDIDATE)]
        del documents, ends
        settled = self._map("clusters", functools.partial(_settle, index, self._plan.bands.threshold), pieces)
        removed = np.concatenate([np.empty(0, REMOVED), *(batch.removed for batch in settled)])
        removed.sort(order="document")
        return Settled(removed, sum(batch.compared for batch in settled))

    def _map(self, name: str, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        results = []
        task = self._progress.add_task(name, total=len(items))
        for result in self._pool.map(function, items):
            results.append(result)
            self._progress.advance(task)
        return results


def check_memory(index: LshIndex, memory_bytes: int) -> None:
    """Raises: DataError where the documents are too many to be joined to clusters."""
    if index.documents * BYTES_A_DOCUMENT > memory_bytes:
        needed = index.documents * BYTES_A_DOCUMENT // 2**20
        raise DataError(f"{index.documents:,} documents need {needed:,} MB more than --memory_mb leaves; raise it")


def save_edges(index: LshIndex, folder: Path, memory_bytes: int, column: int) -> Path:
    """Write the pairs of documents that share a key of this column to ``edges-COLUMN.npy``."""
    path = folder / f"edges-{column:03d}.npy"
    with whole_file(path) as file:
        np.save(file, bucket_edges(index, column, memory_bytes))
    return path


def hanging_together(parents: npt.NDArray[np.int64]) -> tuple[Offsets, Offsets]:
    """The documents that are not alone, cluster by cluster and sorted in each, and where each cluster ends."""
    children = np.flatnonzero(parents != np.arange(len(parents)))
    tops = roots(parents, children)
    documents = np.concatenate((np.unique(tops), children))
    tops = np.concatenate((np.unique(tops), tops))
    order = np.lexsort((documents, tops))
    tops = tops[order]
    ends = np.append(np.flatnonzero(tops[1:] != tops[:-1]) + 1, len(tops)) if len(tops) else tops
    return documents[order], ends


def batches(ends: Offsets, size: int) -> Iterator[tuple[int, int, bool]]:
    """Where whole clusters together, up to so many documents, begin and end; and whether it is one large one.

    Large clusters come alone, so that what is found in them does not depend on their neighbours. Raises: DataError where
    one has more documents than ``size``.
    """
    sizes = np.diff(ends, prepend=0)
    if len(sizes) and (largest := int(sizes.max())) > size:
        needed = largest * BYTES_A_CANDIDATE // 2**20
        raise DataError(
            f"{largest:,} documents hang together as candidates and need {needed:,} MB a worker; raise --memory_mb, "
            f"give fewer --workers, or more --rows"
        )
    begin = end = 0
    for count in sizes.tolist():
        is_crowd = count >= CROWD
        if end > begin and (is_crowd or end + count - begin > size):
            yield begin, end, False
            begin = end
        end += count
        if is_crowd:
            yield begin, end, True
            begin = end
    if end > begin:
        yield begin, end, False


def _settle(index: LshIndex, threshold: float, piece: tuple[Offsets, bool]) -> Settled:
    documents, is_crowd = piece
    return settle(index, documents, threshold, is_crowd)


def _slice(removed: npt.NDArray[Any], part: Part) -> npt.NDArray[Any]:
    low, high = np.searchsorted(removed["document"], [part.first, part.first + part.documents])
    return np.array(removed[low:high])


def _write(plan: Plan, folder: Path, index: LshIndex, item: tuple[int, Part, npt.NDArray[Any]]) -> Written:
    number, part, removed = item
    return write_unit(plan, folder, index, removed, number, part)
