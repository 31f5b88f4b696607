"""A dry run: a table with the value of every rule for every document; no document is kept or dropped."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyarrow import parquet
from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.filters.chain import FilterChain, tell
from megalite.corpus.ledger.labels import LANGUAGE_KEY, source_of
from megalite.corpus.ledger.ledger import EXAMPLES_KEPT, EXCERPT
from megalite.corpus.ledger.page import write_page
from megalite.corpus.prepare.plan import CorpusPlan, make_plan
from megalite.corpus.prepare.prepare import plan_json
from megalite.corpus.prepare.recipe import Recipe, files_read
from megalite.corpus.prepare.recount import FACTS, ROWS_AT_ONCE, SCORES, WRITTEN, Notes, recount
from megalite.corpus.words.clean_text import clean_text
from megalite.corpus.words.words import content_digest
from megalite.files.place import refuse_inputs
from megalite.files.readers.malformed import ReadReport, refuse_malformed
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.job import Job, Stage, Step, has_file
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.run import Pool, job_folder, run_job
from megalite.jobs.work_folder import work_folder_of

NAME = "scores"
PART = "scores-{:05d}.parquet"


class ScorePlan(CorpusPlan):
    """The content of ``plan.json`` in the work folder of a dry run."""

    work: Literal["dry run"] = "dry run"


def score_corpus(
    recipe: Recipe,
    output: Path,
    console: Console,
    overwrite: bool = False,
    workers: int = 1,
    pool: Pool | None = None,
) -> None:
    """Write ``scores.parquet``, a row for each document, and the ledger that the recipe's thresholds would give.

    The bytes are the same for any number of workers; a run that was killed resumes.

    Args:
        pool: scores the units instead of processes of this machine.

    Raises: DataError, ConfigError, FileNotFoundError before the work begins.
    """
    check_output(output, WRITTEN, overwrite)
    refuse_inputs(output, files_read(recipe))
    tell(FilterChain(recipe.filters, every_rule=True), console)
    before_copies = recipe.model_copy(update={"dedup": None, "decontaminate": None})
    plan = ScorePlan.model_validate(make_plan(before_copies, output).model_dump())
    with ExitStack() as stack:
        job = stack.enter_context(job_folder("scores", plan_json(plan), work_folder_of(output)))
        run_job(job, pool or stack.enter_context(WorkerPool(workers)), console)
        with whole_folder(output) as partial:
            _join(job.folder / NAME, len(plan.units), partial / SCORES)
            (partial / "recipe.json").write_text(recipe.model_dump_json(indent=1))
            ledger = recount(partial, recipe)
            most, examples = recipe.max_malformed, ledger.malformed_examples
            refuse_malformed(ledger.read, ledger.malformed, examples, most, "the recipe's max_malformed")
            rules = FilterChain(recipe.filters).rules
            ledger.write(partial / "ledger.json", rules)
            write_page(partial / "ledger.html", [ledger.to_json(rules)])
    ledger.print(console, f"{output}: a dry run, only the scores are written")


def read_plan(content: str) -> ScorePlan:
    """``plan.json`` of a work folder."""
    return ScorePlan.model_validate_json(content)


def all_stages(plan: ScorePlan) -> list[Stage]:
    """Scoring alone."""
    return [Stage(NAME, (Step("score", len(plan.units), _score_unit, has_file(NAME, PART)),))]


def _score_unit(job: Job[ScorePlan], unit: int) -> None:
    plan, report = job.plan, ReadReport()
    plan.refuse_changed()
    chain = job.once("filters", lambda: FilterChain(plan.recipe.filters, every_rule=True))
    with whole_file(job.folder / NAME / PART.format(unit)) as file, _writer(file, chain) as writer:
        for rows in _rows(plan, chain, unit, report):
            writer.write_table(pa.Table.from_pylist(rows, _schema(chain)))
        writer.add_key_value_metadata(Notes(report.malformed, report.examples, chain.settings).to_metadata())


def _rows(plan: ScorePlan, chain: FilterChain, unit: int, report: ReadReport) -> Iterator[list[dict[str, Any]]]:
    """The rows of a unit's documents, some at a time."""
    names = [rule.name for rule in chain.rules]
    rows: list[dict[str, Any]] = []
    for document in plan.documents(unit, report):
        verdict = chain.judge(clean_text(document.text))
        row = {
            "source": source_of(document),
            "place": f"{document.path}:{document.line}",
            "bytes": len(verdict.text.encode("utf-8", "replace")),
            "digest": content_digest(verdict.text),
            LANGUAGE_KEY: verdict.language if len(chain.languages) > 1 else None,
            "excerpt": verdict.text[:EXCERPT],
        }
        rows.append(row | dict(zip(names, verdict.scores, strict=True)))
        if len(rows) == ROWS_AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


def _schema(chain: FilterChain) -> pa.Schema:
    return pa.schema([*FACTS.items(), *((rule.name, pa.float64()) for rule in chain.rules)])


def _writer(file: Any, chain: FilterChain) -> parquet.ParquetWriter:
    return parquet.ParquetWriter(file, _schema(chain), compression="zstd")


def _join(folder: Path, units: int, path: Path) -> None:
    """All units in their order, in one file. Raises: DataError if one is damaged."""
    together: Notes | None = None
    with ExitStack() as stack:
        writer: parquet.ParquetWriter | None = None
        for unit in range(units):
            try:
                with parquet.ParquetFile(folder / PART.format(unit)) as part:
                    notes = Notes.of(part)
                    if writer is None:
                        writer = stack.enter_context(parquet.ParquetWriter(path, part.schema_arrow, compression="zstd"))
                    for batch in part.iter_batches(batch_size=ROWS_AT_ONCE):
                        writer.write_batch(batch)
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise DataError(
                    f"{folder / PART.format(unit)}: damaged: {reason}; remove {folder.parent} and run again"
                ) from None
            together = notes if together is None else together.merged(notes, EXAMPLES_KEPT)
        assert writer is not None and together is not None, "a plan has units"
        writer.add_key_value_metadata(together.to_metadata())
