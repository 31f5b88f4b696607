"""Deduplication as a job stage: hash, find pairs band by band, join them to clusters, settle the clusters, write."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megalite.corpus.dedup.clustering import BYTES_A_CANDIDATE, batches, check_memory, connected, save_edges
from megalite.corpus.dedup.clusters import REMOVED, join, settle
from megalite.corpus.dedup.lsh_index import LshIndex, Part
from megalite.corpus.dedup.scan import DedupPlan, scan_unit, scanned_unit
from megalite.corpus.dedup.write import write_unit
from megalite.corpus.units.kept_units import closing_step, is_written
from megalite.jobs.job import Job, Stage, Step, has_file
from megalite.jobs.notes import read_array, read_note, write_array, write_note

NAME = "dedup"
HASH_STEP = f"{NAME}-hash"
EDGES, SETTLED, COMPARED = "edges-{:03d}.npy", "settled-{:03d}.npy", "settled-{:03d}.json"
CLUSTERS, BATCHES = "clusters.npy", "clusters-batches.npy"
MOST_SHARES = 256
"""Tasks that settle clusters, at most."""


class DedupInput(NamedTuple):
    """What the stage deduplicates."""

    plan: DedupPlan
    open_known: Callable[[], list[Part]]
    """Opens the parts of earlier dumps, whose documents come first; hashing does not need them."""
    paths_of: Callable[[int], tuple[str, ...]]
    """The paths that the documents of a unit number."""


Opener = Callable[[Job[Any]], DedupInput]


def dedup_stage(units: int, bands: int, open_input: Opener, before: str | None) -> Stage:
    """The steps of a deduplication.

    Args:
        open_input: called once in each process.
        before: the stage whose shards are read; None if these are the user's files.
    """
    stage = _DedupStage(units, open_input)
    steps = (
        Step(HASH_STEP, units, stage.hash, has_file(NAME, "scan-{:05d}.json")),
        Step(f"{NAME}-pairs", bands + 1, stage.find_pairs, has_file(NAME, EDGES)),
        Step(f"{NAME}-join", 1, stage.join, has_file(NAME, BATCHES)),
        Step(f"{NAME}-settle", stage.shares, stage.settle, has_file(NAME, SETTLED)),
        Step(f"{NAME}-write", units, stage.write, is_written(NAME)),
        closing_step(NAME, units, before, "scan-*.[tbs]*", "edges-*", "clusters*", "settled-*.npy"),
    )
    return Stage(NAME, steps)


def pairs_compared(job: Job[Any]) -> int:
    """The number of pairs whose n-grams were compared, after the stage."""
    notes = sorted((job.folder / NAME).glob("settled-*.json"))
    return sum(read_note(note, lambda values: int(values["compared"])) for note in notes)


class _DedupStage:
    """The tasks of the steps."""

    def __init__(self, units: int, open_input: Opener) -> None:
        self._units, self._open_input = units, open_input
        self.shares = min(MOST_SHARES, units)

    def hash(self, job: Job[Any], number: int) -> None:
        scan_unit(self._input(job).plan, job.folder / NAME, number)

    def find_pairs(self, job: Job[Any], column: int) -> None:
        save_edges(self._index(job), job.folder / NAME / EDGES.format(column), job.memory_bytes, column)

    def join(self, job: Job[Any], _: int) -> None:
        index, folder = self._index(job), job.folder / NAME
        check_memory(index, job.memory_bytes)
        parents = np.arange(index.documents)
        for column in range(self._input(job).plan.columns):
            join(parents, read_array(folder / EDGES.format(column)))
        documents, ends = connected(parents)
        bounds = np.array(list(batches(ends, job.memory_bytes // BYTES_A_CANDIDATE)), np.int64).reshape(-1, 3)
        for name, values in ((CLUSTERS, documents), (BATCHES, bounds)):
            write_array(folder / name, values)

    def settle(self, job: Job[Any], share: int) -> None:
        """Every ``shares``-th batch of clusters."""
        folder, threshold = job.folder / NAME, self._input(job).plan.bands.threshold
        documents, removed, compared = read_array(folder / CLUSTERS), [np.empty(0, REMOVED)], 0
        for begin, end, is_large in read_array(folder / BATCHES)[share :: self.shares].tolist():
            settled = settle(self._index(job), np.sort(documents[begin:end]), threshold, bool(is_large))
            removed.append(settled.removed)
            compared += settled.compared
        records = np.concatenate(removed)
        records.sort(order="document")
        write_note(folder / COMPARED.format(share), {"compared": compared})
        write_array(folder / SETTLED.format(share), records)

    def write(self, job: Job[Any], number: int) -> None:
        index = self._index(job)
        part = index.parts[len(index.parts) - self._units + number]
        write_unit(self._input(job).plan, job.folder / NAME, index, self._removed(job, part), number, part)

    def _removed(self, job: Job[Any], part: Part) -> npt.NDArray[Any]:
        """The ``REMOVED`` records of a part's documents, sorted by document."""
        found = []
        for share in range(self.shares):
            records = read_array(job.folder / NAME / SETTLED.format(share))
            begin, end = np.searchsorted(records["document"], [part.first, part.first + part.documents])
            found.append(np.array(records[begin:end]))
        together = np.concatenate(found)
        together.sort(order="document")
        return together

    def _input(self, job: Job[Any]) -> DedupInput:
        return job.once("dedup input", lambda: self._open_input(job))

    def _index(self, job: Job[Any]) -> LshIndex:
        """All documents as they were hashed."""
        return job.once("dedup index", lambda: self._open_index(job))

    def _open_index(self, job: Job[Any]) -> LshIndex:
        given = self._input(job)
        parts = given.open_known()
        first = known = sum(part.documents for part in parts)
        for number in range(self._units):
            count = scanned_unit(job.folder / NAME, number).documents
            prefix = job.folder / NAME / f"scan-{number:05d}"
            parts.append(Part(prefix, count, given.plan.columns, first, given.paths_of(number)))
            first += count
        return LshIndex(parts, known)
