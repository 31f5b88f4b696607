"""A dry run: every rule's number of every document, in a table; nothing is kept and nothing dropped."""

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from megalite.config.errors import DataError
from megalite.corpus.filters.chain import FilterChain, tell
from megalite.corpus.ledger.ledger import EXCERPT, VICTIMS_KEPT
from megalite.corpus.ledger.page import write_page
from megalite.corpus.ledger.recount import FACTS, ROWS_AT_ONCE, SCORES, WRITTEN, Notes, recount
from megalite.corpus.prepare.engine import Pool
from megalite.corpus.prepare.plan import PlantPlan, make_plan
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.sources.sources import files_read
from megalite.corpus.units.unit_books import LANGUAGE_KEY, source_of
from megalite.corpus.words.clean_text import clean_text
from megalite.corpus.words.words import content_digest
from megalite.files.place import refuse_inputs
from megalite.files.readers.malformed import ReadReport, refuse_malformed
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.work_folder import PLAN, work_folder, work_folder_of


class ScorePlan(PlantPlan):
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
    """Write ``scores.parquet``, a row a document, and the ledger that the recipe's thresholds would give.

    The bytes are the same for any number of workers; a run that was killed goes on where it was.

    Args:
        pool: scores the units instead of processes of this machine.

    Raises: DataError, ConfigError, FileNotFoundError before the work begins.
    """
    check_output(output, WRITTEN, overwrite)
    refuse_inputs(output, files_read(recipe))
    tell(FilterChain(recipe.filters, every_rule=True), console)
    before_copies = recipe.model_copy(update={"dedup": None, "decontaminate": None})
    plan = ScorePlan.model_validate(make_plan(before_copies, output).model_dump())
    content = plan.model_dump_json(indent=1) + "\n"
    with work_folder(work_folder_of(output), content) as folder, ExitStack() as stack:
        todo = [unit for unit in range(len(plan.units)) if not _part(folder, unit).is_file()]
        columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        task = bar.add_task("", total=len(plan.units), completed=len(plan.units) - len(todo))
        at_work = pool if pool is not None else stack.enter_context(WorkerPool(workers))
        for _ in at_work.map(functools.partial(_score_unit, folder), todo):
            bar.advance(task)
        with whole_folder(output) as partial:
            _join(folder, len(plan.units), partial / SCORES)
            (partial / "recipe.json").write_text(recipe.model_dump_json(indent=1))
            ledger = recount(partial, recipe)
            most, examples = recipe.max_malformed, ledger.malformed_examples
            refuse_malformed(ledger.read, ledger.malformed, examples, most, "the recipe's max_malformed")
            chain = FilterChain(recipe.filters)
            ledger.write(partial / "ledger.json", chain)
            write_page(partial / "ledger.html", [ledger.to_json(chain)])
    ledger.print(console, f"{output}: a dry run, nothing is written but the scores")


def _part(folder: Path, unit: int) -> Path:
    return folder / f"scores-{unit:05d}.parquet"


@functools.lru_cache(maxsize=1)
def _opened(content: str) -> tuple[ScorePlan, FilterChain]:
    """The plan and its filters; made once a process."""
    plan = ScorePlan.model_validate_json(content)
    return plan, FilterChain(plan.recipe.filters, every_rule=True)


def _score_unit(folder: Path, unit: int) -> None:
    plan, chain = _opened((folder / PLAN).read_text())
    plan.check_beside()
    report = ReadReport()
    with whole_file(_part(folder, unit)) as file, _writer(file, chain) as writer:
        for rows in _rows(plan, chain, unit, report):
            writer.write_table(pa.Table.from_pylist(rows, _schema(chain)))
        writer.add_key_value_metadata(Notes(report.malformed, report.examples, chain.settings).to_metadata())


def _rows(plan: ScorePlan, chain: FilterChain, unit: int, report: ReadReport) -> Iterator[list[dict[str, Any]]]:
    """The rows of a unit's documents, some at a time."""
    names = [name for name, _, _ in chain.rules]
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
    return pa.schema([*FACTS.items(), *((name, pa.float64()) for name, _, _ in chain.rules)])


def _writer(file: Any, chain: FilterChain) -> parquet.ParquetWriter:
    return parquet.ParquetWriter(file, _schema(chain), compression="zstd")


def _join(folder: Path, units: int, path: Path) -> None:
    """All units in their order, in one file. Raises: DataError where one is damaged."""
    together: Notes | None = None
    with ExitStack() as stack:
        writer: parquet.ParquetWriter | None = None
        for unit in range(units):
            try:
                with parquet.ParquetFile(_part(folder, unit)) as part:
                    notes = Notes.of(part)
                    if writer is None:
                        writer = stack.enter_context(parquet.ParquetWriter(path, part.schema_arrow, compression="zstd"))
                    for batch in part.iter_batches(batch_size=ROWS_AT_ONCE):
                        writer.write_batch(batch)
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise DataError(f"{_part(folder, unit)}: damaged: {reason}; remove {folder} and run again") from None
            together = notes if together is None else together.merged(notes, VICTIMS_KEPT)
        assert writer is not None and together is not None, "a plan has units"
        writer.add_key_value_metadata(together.to_metadata())
