"""The stage that takes out near-duplicates: the steps of :mod:`megalite.corpus.dedup.run`, each cut into tasks."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megalite.corpus.dedup.clusters import REMOVED, join, settle
from megalite.corpus.dedup.dump_index import known_parts
from megalite.corpus.dedup.lsh_index import LshIndex, Part
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.dedup.run import BYTES_A_CANDIDATE, batches, check_memory, hanging_together, save_edges
from megalite.corpus.dedup.scan import Plan, Scanned, scan_unit
from megalite.corpus.dedup.write import write_unit
from megalite.corpus.prepare.plan import MOST_PARTS, PlantPlan
from megalite.corpus.prepare.recipe import Dedup
from megalite.corpus.prepare.steps import Job, Stage, Step, has_file, is_written
from megalite.corpus.units.kept_units import closing_step, kept_units, unit_paths
from megalite.files.whole_file import whole_file
from megalite.jobs.notes import read_array, read_note

NAME = "dedup"
EDGES, SETTLED = "edges-{:03d}.npy", "settled-{:03d}.npy"
CLUSTERS, BATCHES = "clusters.npy", "clusters-batches.npy"


def bands_of(section: Dedup) -> Bands:
    """What counts as a near-duplicate."""
    return Bands(**section.model_dump(include=set(Bands.model_fields)))


def dedup_stage(plan: PlantPlan, before: str) -> Stage:
    """Hash, find pairs band by band, join them, settle clusters, write."""
    assert plan.recipe.dedup is not None
    units, columns = len(plan.units), plan.recipe.dedup.bands + 1
    shares = min(MOST_PARTS, units)

    def write(job: Job, number: int) -> None:
        index = _index(job)
        removed = _removed(job, index.parts[_known(job) + number], shares)
        write_unit(_plan(job, before), job.folder / NAME, index, removed, number, index.parts[_known(job) + number])

    steps = (
        Step(f"{NAME}-hash", units, lambda job, task: _hash(job, before, task), has_file(NAME, "scan-{:05d}.json")),
        Step(f"{NAME}-pairs", columns, _pairs, has_file(NAME, EDGES)),
        Step(f"{NAME}-join", 1, _join, has_file(NAME, BATCHES)),
        Step(f"{NAME}-settle", shares, lambda job, task: _settle(job, task, shares), has_file(NAME, SETTLED)),
        Step(f"{NAME}-write", units, write, is_written(NAME)),
        closing_step(NAME, before, "scan-*.[tbs]*", "edges-*", "clusters*", "settled-*"),
    )
    return Stage(NAME, steps)


def _plan(job: Job, before: str) -> Plan:
    section = job.plan.recipe.dedup
    assert section is not None
    return Plan(
        inputs=kept_units(job, before),
        bands=bands_of(section),
        keep=section.keep,
        quality_key=section.quality_key,
        write_index=section.write_index,
    )


def _known(job: Job) -> int:
    """Parts of earlier dumps, which come before our own."""
    return len(_index(job).parts) - len(job.plan.units)


def _index(job: Job) -> LshIndex:
    """All documents as they were hashed."""
    return job.once("index", lambda: _open_index(job))


def _open_index(job: Job) -> LshIndex:
    section = job.plan.recipe.dedup
    assert section is not None
    parts = known_parts([Path(folder) for folder in section.against], bands_of(section))
    first = known = sum(part.documents for part in parts)
    for number in range(len(job.plan.units)):
        prefix = job.folder / NAME / f"scan-{number:05d}"
        count = read_note(prefix.with_suffix(".json"), lambda values: Scanned(**values)).documents
        parts.append(Part(prefix, count, section.bands + 1, first, tuple(unit_paths(job.folder, number))))
        first += count
    return LshIndex(parts, known)


def _hash(job: Job, before: str, number: int) -> None:
    scan_unit(_plan(job, before), job.folder / NAME, number)


def _pairs(job: Job, column: int) -> None:
    save_edges(_index(job), job.folder / NAME, job.memory_bytes, column)


def _join(job: Job, task: int) -> None:
    index, folder = _index(job), job.folder / NAME
    check_memory(index, job.memory_bytes)
    parents = np.arange(index.documents)
    for column in range(index.parts[0].columns):
        join(parents, read_array(folder / EDGES.format(column)))
    documents, ends = hanging_together(parents)
    bounds = np.array(list(batches(ends, job.memory_bytes // BYTES_A_CANDIDATE)), np.int64).reshape(-1, 3)
    for name, values in ((CLUSTERS, documents), (BATCHES, bounds)):
        with whole_file(folder / name) as file:
            np.save(file, values)


def _settle(job: Job, share: int, shares: int) -> None:
    """Every ``shares``-th batch of clusters."""
    section, folder = job.plan.recipe.dedup, job.folder / NAME
    assert section is not None
    documents = read_array(folder / CLUSTERS)
    removed = [np.empty(0, REMOVED)]
    for begin, end, is_crowd in read_array(folder / BATCHES)[share::shares].tolist():
        removed.append(settle(_index(job), np.sort(documents[begin:end]), section.threshold, bool(is_crowd)).removed)
    records = np.concatenate(removed)
    records.sort(order="document")
    with whole_file(folder / SETTLED.format(share)) as file:
        np.save(file, records)


def _removed(job: Job, part: Part, shares: int) -> npt.NDArray[Any]:
    """The records of a unit's documents."""
    found = []
    for share in range(shares):
        records = read_array(job.folder / NAME / SETTLED.format(share))
        begin, end = np.searchsorted(records["document"], [part.first, part.first + part.documents])
        found.append(np.array(records[begin:end]))
    together = np.concatenate(found)
    together.sort(order="document")
    return together
