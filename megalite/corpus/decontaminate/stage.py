"""Decontamination as a job stage: every unit is compared with the index of evaluation items."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.config.section import Section
from megalite.corpus.decontaminate.contamination import Contamination, examine
from megalite.corpus.decontaminate.eval_index import EvalIndex
from megalite.corpus.decontaminate.eval_items import read_eval_items
from megalite.corpus.units.kept_units import closing_step, is_written
from megalite.corpus.units.unit_writer import UnitWriter
from megalite.files.readers.input_units import InputFile, Inputs
from megalite.files.readers.malformed import ReadReport
from megalite.jobs.job import Job, Stage, Step

NAME = "decontaminate"


class DecontaminatePlan(Section):
    """Everything that decides the bytes of the output."""

    inputs: Inputs
    against: tuple[InputFile, ...]
    rule: Contamination


def decontaminate_stage(units: int, open_plan: Callable[[Job[Any]], DecontaminatePlan], before: str | None) -> Stage:
    """One task for each unit.

    Args:
        open_plan: called once in each process.
        before: the stage whose shards are read; None if these are the user's files.
    """

    def run(job: Job[Any], number: int) -> None:
        _write_unit(job.once("decontaminate plan", lambda: open_plan(job)), job.folder / NAME, number)

    write = Step(f"{NAME}-write", units, run, is_written(NAME))
    return Stage(NAME, (write, closing_step(NAME, units, before)))


@functools.lru_cache(maxsize=1)
def eval_index(against: tuple[InputFile, ...], rule: Contamination) -> EvalIndex:
    """The index of the evaluation items; built once in each process.

    Raises: DataError if a set is damaged, or if no text has enough words.
    """
    items = read_eval_items([Path(file.path) for file in against], rule.eval_keys)
    index = EvalIndex(items, rule.ngram, rule.min_words)
    if not index.items:
        names = ", ".join(file.path for file in against[:3])
        raise DataError(f"{names}: no text has {min(rule.min_words, rule.ngram)} words; lower min_words")
    return index


def _write_unit(plan: DecontaminatePlan, folder: Path, number: int) -> None:
    """Write ``kept-NUMBER-*.jsonl.zst`` and ``contaminated-NUMBER.jsonl``."""
    for file in plan.against:
        file.refuse_changed()
    index, report = eval_index(plan.against, plan.rule), ReadReport()
    documents = (document for _, document in plan.inputs.documents(number, report))
    with UnitWriter(folder, number, NAME, "contaminated") as unit:
        for document, entry in examine(documents, index, plan.rule):
            if entry is None:
                unit.keep(document)
            else:
                name = entry["items"][0]["path"].rpartition("/")[2]
                unit.drop(document, f"contaminated by {name}", entry, excerpt=entry["matched"])
    unit.record(report, [])
