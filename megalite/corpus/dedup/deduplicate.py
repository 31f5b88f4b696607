"""Removes exact and near-duplicate documents from a corpus of any size, in bounded memory."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.dedup.dump_index import NAME, DumpIndex, known_parts
from megalite.corpus.dedup.lsh_index import SUFFIXES
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.dedup.scan import DedupPlan, Keep, scanned_unit
from megalite.corpus.dedup.stage import HASH_STEP, DedupInput, dedup_stage, pairs_compared
from megalite.corpus.dedup.stage import NAME as STAGE
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.units.kept_units import all_written, read_ledger
from megalite.corpus.units.written_units import gather_files, refuse_unreadable
from megalite.files.readers.input_units import find_inputs, input_file
from megalite.files.readers.options import ReadOptions
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.job import Job, Stage, Step
from megalite.jobs.memory import memory_per_worker
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.run import job_folder, run_job
from megalite.jobs.work_folder import PLAN, forget, is_finished, work_folder_of

WRITTEN = (PLAN, "kept-*.jsonl.zst", "removed.jsonl", "ledger.json", NAME, *(f"index-*{suffix}" for suffix in SUFFIXES))
FAIR_CHANCE = 0.99
"""Probability of finding a pair at the threshold, below which the user is warned."""


@dataclass(frozen=True)
class DedupOptions:
    """What :func:`deduplicate` does beside finding near-duplicates."""

    keep: Keep = "first"
    """Which copy stays."""
    quality_key: str | None = None
    """The number in a document's meta that decides with ``keep="best"``."""
    against: tuple[Path, ...] = ()
    """Earlier outputs with an index; documents that they hold are removed."""
    write_index: bool = False
    """Write an index for a later ``against``."""
    read: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        if (self.keep == "best") != (self.quality_key is not None):
            raise DataError(
                f"--keep {self.keep}: --quality_key goes with --keep best, and --keep best with --quality_key"
            )


def deduplicate(
    inputs: Sequence[str],
    output: Path,
    bands: Bands,
    console: Console,
    options: DedupOptions = DedupOptions(),
    workers: int = 1,
    memory_mb: int = 2048,
    overwrite: bool = False,
) -> None:
    """Write ``kept-*.jsonl.zst``, ``removed.jsonl``, ``ledger.json`` and, if asked for, an index to ``output``.

    The output appears as a whole or not at all, and has the same bytes for any number of workers and any memory. A run that
    was killed resumes.

    Raises: FileNotFoundError, DataError.
    """
    share = memory_per_worker(memory_mb, workers)
    known_parts(list(options.against), bands)
    plan = DedupPlan(
        inputs=find_inputs(inputs, options.read.text_key, options.read.on_error),
        bands=bands,
        keep=options.keep,
        quality_key=options.quality_key,
        against=tuple(input_file(folder / NAME) for folder in options.against),
        write_index=options.write_index,
    )
    content = plan.model_dump_json(indent=1) + "\n"
    work = work_folder_of(output)
    if is_finished(output, content) and not overwrite:
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        forget(work)
        return
    check_output(output, WRITTEN, overwrite, [*(file.path for file in plan.inputs.files), *options.against])
    if (chance := bands.chance(bands.threshold)) < FAIR_CHANCE:
        found = (
            f"--bands {bands.bands} --rows {bands.rows} find a pair at {bands.threshold} with a chance of {chance:.1%}"
        )
        console.print(f"{found}; fewer --rows or more --bands miss less", highlight=False)
    began = time.perf_counter()
    with job_folder("dedup", content, work, share) as job, WorkerPool(workers) as pool:

        def check_read(step: Step) -> None:
            if step.name == HASH_STEP:
                _refuse_unreadable(job, options.read.max_malformed)

        run_job(job, pool, console, check_read)
        compared, unscored = pairs_compared(job), sum(unit.unscored for unit in _scanned(job))
        ledger = _publish(job, output, compared)
    ledger.print(console, str(output))
    console.print(f"{compared:,} pairs compared exactly, {time.perf_counter() - began:.1f} s", highlight=False)
    if unscored:
        console.print(
            f"{unscored:,} documents have no number '{plan.quality_key}' in their meta; they rank below all that have one",
            highlight=False,
        )


def read_plan(content: str) -> DedupPlan:
    """``plan.json`` of a work folder."""
    return DedupPlan.model_validate_json(content)


def all_stages(plan: DedupPlan) -> list[Stage]:
    """Deduplication alone."""

    def open_input(job: Job[DedupPlan]) -> DedupInput:
        paths = tuple(file.path for file in plan.inputs.files)
        against = [Path(file.path).parent for file in plan.against]
        return DedupInput(plan, lambda: known_parts(against, plan.bands), lambda unit: paths)

    return [dedup_stage(len(plan.inputs.units), plan.bands.bands, open_input, before=None)]


def _scanned(job: Job[DedupPlan]) -> list[Any]:
    return [scanned_unit(job.folder / STAGE, number) for number in range(len(job.plan.inputs.units))]


def _refuse_unreadable(job: Job[DedupPlan], most: float | None) -> None:
    scanned = _scanned(job)
    examples = [example for unit in scanned for example in unit.examples]
    read, malformed = (sum(counts) for counts in zip(*(unit[:2] for unit in scanned), strict=True))
    refuse_unreadable(job.folder, job.plan.inputs, read, malformed, examples, most)


def _publish(job: Job[DedupPlan], output: Path, compared: int) -> Ledger:
    """Put the units' files and the ledger into the output, which is then complete."""
    plan, ledger = job.plan, read_ledger(job, STAGE)
    written = all_written(job.folder / STAGE, len(plan.inputs.units))
    read = sum(unit.documents for unit in _scanned(job))
    assert ledger.read == read, f"{read} documents were hashed and {ledger.read} written or removed"
    facts = {"compared": compared, "chance_at_threshold": plan.bands.chance(plan.bands.threshold)}
    values = ledger.to_json() | {"dedup": plan.bands.model_dump() | facts}
    with whole_folder(output) as partial:
        gather_files(job.folder / STAGE, partial, written, "removed.jsonl")
        (partial / "ledger.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if plan.write_index:
            paths = tuple(file.path for file in plan.inputs.files)
            documents = tuple(unit.ledger["kept"] for unit in written)
            DumpIndex(bands=plan.bands, paths=paths, documents=documents).write(partial)
        (partial / PLAN).write_text((job.folder / PLAN).read_text())
    return ledger
