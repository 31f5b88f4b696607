"""The stage that takes out documents whose words stood before: the first copy, in the order of the sources, stays."""

import numpy as np

from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.prepare.digests import later_copies, place_of
from megalite.corpus.prepare.plan import PlantPlan
from megalite.corpus.prepare.steps import Job, Stage, Step, has_file, is_written
from megalite.corpus.units.kept_shards import KeptShards, json_line
from megalite.corpus.units.kept_units import FIRST, closing_step, kept_units, unit_paths
from megalite.corpus.units.unit_books import language_of, remember, source_of
from megalite.files.readers.malformed import ReadReport
from megalite.files.whole_file import whole_file
from megalite.jobs.notes import read_array

NAME = "exact"
COPIES = "copies-{:03d}.npy"


def exact_stage(plan: PlantPlan) -> Stage:
    """Copies are found by ranges of the digest, and taken out unit by unit."""
    find = Step(f"{NAME}-find", plan.partitions, _find, has_file(NAME, COPIES))
    write = Step(f"{NAME}-write", len(plan.units), _write, is_written(NAME))
    return Stage(NAME, (find, write, closing_step(NAME, FIRST, "copies-*")))


def _find(job: Job, part: int) -> None:
    copies = later_copies(job.folder / FIRST, range(len(job.plan.units)), part, job.plan.partitions)
    with whole_file(job.folder / NAME / COPIES.format(part)) as file:
        np.save(file, copies)


def _write(job: Job, number: int) -> None:
    folder = job.folder / NAME
    twins = _twins(job, number)
    ledger, report = Ledger(stage=NAME), ReadReport()
    listing = f"removed-{number:05d}.jsonl"
    with whole_file(folder / listing) as losses, KeptShards(folder, number) as shards:
        for position, (_, document) in enumerate(kept_units(job, FIRST).documents(number, report)):
            ledger.read += 1
            if position not in twins:
                ledger.keep(source_of(document), document.text, language=language_of(document))
                shards.write(document)
                continue
            unit, position_of_twin = twins[position]
            number_of_path, line = place_of(job.folder / FIRST, unit, position_of_twin)
            path = unit_paths(job.folder, unit)[number_of_path]
            entry = {"path": document.path, "line": document.line, "rule": "exact_duplicate"}
            losses.write(json_line(entry | {"jaccard": 1.0, "kept_path": path, "kept_line": line}))
            place = f"{document.path}:{document.line}"
            language, twin = language_of(document), f"{path}:{line}"
            ledger.drop("exact_duplicate", source_of(document), place, document.text, language=language, twin=twin)
    remember(folder, number, listing, shards.names, ledger)


def _twins(job: Job, number: int) -> dict[int, tuple[int, int]]:
    """Position of every copy in a unit -> unit and position of its twin."""
    twins: dict[int, tuple[int, int]] = {}
    for part in range(job.plan.partitions):
        copies = read_array(job.folder / NAME / COPIES.format(part))
        begin, end = np.searchsorted(copies[0], [number, number + 1])
        _, positions, units, places = copies[:, begin:end].tolist()
        twins.update(zip(positions, zip(units, places, strict=True), strict=True))
    return twins
