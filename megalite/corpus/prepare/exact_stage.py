"""The stage that removes documents with the words of an earlier one: the first copy, in the order of the sources, stays."""

import numpy as np

from megalite.corpus.prepare.digests import later_copies, place_of
from megalite.corpus.prepare.plan import CorpusPlan
from megalite.corpus.units.kept_units import FIRST, closing_step, is_written, kept_units, unit_paths
from megalite.corpus.units.unit_writer import UnitWriter
from megalite.files.readers.malformed import ReadReport
from megalite.jobs.job import Job, Stage, Step, has_file
from megalite.jobs.notes import read_array, write_array

NAME = "exact"
COPIES = "copies-{:03d}.npy"


def exact_stage(plan: CorpusPlan) -> Stage:
    """Find copies partition by partition of the digests, then remove them unit by unit."""
    find = Step(f"{NAME}-find", plan.partitions, _find, has_file(NAME, COPIES))
    write = Step(f"{NAME}-write", len(plan.units), _write, is_written(NAME))
    return Stage(NAME, (find, write, closing_step(NAME, len(plan.units), FIRST, "copies-*")))


def _find(job: Job[CorpusPlan], part: int) -> None:
    copies = later_copies(job.folder / FIRST, range(len(job.plan.units)), part, job.plan.partitions)
    write_array(job.folder / NAME / COPIES.format(part), copies)


def _write(job: Job[CorpusPlan], number: int) -> None:
    twins, report = _twins(job, number), ReadReport()
    inputs = kept_units(job.folder / FIRST, len(job.plan.units))
    with UnitWriter(job.folder / NAME, number, NAME, "removed") as unit:
        for position, (_, document) in enumerate(inputs.documents(number, report)):
            if position not in twins:
                unit.keep(document)
                continue
            unit_of_twin, position_of_twin = twins[position]
            number_of_path, line = place_of(job.folder / FIRST, unit_of_twin, position_of_twin)
            path = unit_paths(job.folder, unit_of_twin)[number_of_path]
            entry = {"path": document.path, "line": document.line, "rule": "exact_duplicate"}
            entry |= {"jaccard": 1.0, "kept_path": path, "kept_line": line}
            unit.drop(document, "exact_duplicate", entry, twin=f"{path}:{line}")
    unit.record(report, [])


def _twins(job: Job[CorpusPlan], number: int) -> dict[int, tuple[int, int]]:
    """Position of every copy in a unit -> unit and position of the document that it equals."""
    twins: dict[int, tuple[int, int]] = {}
    for part in range(job.plan.partitions):
        copies = read_array(job.folder / NAME / COPIES.format(part))
        begin, end = np.searchsorted(copies[0], [number, number + 1])
        _, positions, units, places = copies[:, begin:end].tolist()
        twins.update(zip(positions, zip(units, places, strict=True), strict=True))
    return twins
