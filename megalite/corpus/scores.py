"""A dry run: every rule's number of every document is written down, and thresholds are moved afterwards at no cost."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from megalite.config.command_line import CommandParser
from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.config.explain import did_you_mean, validate
from megalite.config.load import read_yaml
from megalite.corpus.clean_text import clean_text
from megalite.corpus.filters import FilterChain, Verdict, tell
from megalite.corpus.ledger import EXCERPT, Ledger
from megalite.corpus.ledger_page import write_page
from megalite.corpus.readers import ReadReport
from megalite.corpus.recipe import Recipe
from megalite.corpus.sources import all_documents, check_sources, files_read
from megalite.corpus.unit_books import LANGUAGE_KEY, source_of
from megalite.corpus.words import content_digest
from megalite.files.whole_folder import check_output, whole_folder

ROWS_AT_ONCE = 4096
SCORES = "scores.parquet"
WRITTEN = (SCORES, "ledger.json", "ledger.html", "recipe.json")
NO_THRESHOLD = math.nan
"""Neither below nor above anything: a rule that is off still gives its number."""


def score_corpus(recipe: Recipe, output: Path, console: Console, overwrite: bool = False) -> None:
    """Write ``scores.parquet``, a row a document, and the ledger that the recipe's thresholds would give.

    Raises: DataError, ConfigError, FileNotFoundError before the work begins.
    """
    check_sources(recipe)
    check_output(output, WRITTEN, overwrite, files_read(recipe))
    chain = FilterChain(recipe.filters, every_rule=True)
    tell(chain, console)
    report = ReadReport()
    with whole_folder(output) as partial:
        with ExitStack() as stack:
            writer = stack.enter_context(parquet.ParquetWriter(partial / SCORES, _schema(chain), compression="zstd"))
            columns = (SpinnerColumn(), TextColumn("{task.completed:,} documents"), TimeElapsedColumn())
            bar = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
            task = bar.add_task("", total=None)
            rows: list[dict[str, Any]] = []
            for document in all_documents(recipe, report):
                text = clean_text(document.text)
                verdict = chain.judge(text)
                row = {
                    "source": source_of(document),
                    LANGUAGE_KEY: verdict.language if len(chain.languages) > 1 else None,
                    "place": f"{document.path}:{document.line}",
                    "bytes": len(verdict.text.encode("utf-8", "replace")),
                    "digest": content_digest(verdict.text),
                    "excerpt": verdict.text[:EXCERPT],
                }
                rows.append(row | dict(zip((name for name, _, _ in chain.rules), verdict.scores, strict=True)))
                if len(rows) == ROWS_AT_ONCE:
                    writer.write_table(pa.Table.from_pylist(rows, _schema(chain)))
                    rows.clear()
                bar.advance(task)
            metadata = {"malformed": str(report.malformed), "malformed_examples": "\n".join(report.examples)}
            writer.write_table(pa.Table.from_pylist(rows, _schema(chain)))
            writer.add_key_value_metadata(metadata)
        (partial / "recipe.json").write_text(recipe.model_dump_json(indent=1))
        ledger = recount(partial, recipe)
        ledger.write(partial / "ledger.json", FilterChain(recipe.filters))
        write_page(partial / "ledger.html", [ledger.to_json(FilterChain(recipe.filters))])
    ledger.print(console, f"{output}: a dry run, nothing is written but the scores")


def recount(folder: Path, recipe: Recipe) -> Ledger:
    """The ledger that a recipe with other thresholds would give, from the scores alone.

    Documents that a text-changing filter (C4's lines) drops now and did not before, or the other way round, keep the
    later filters' numbers of before.

    Raises: FileNotFoundError; ConfigError where a rule was not scored.
    """
    path = folder / SCORES
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no scores; make them with prepare_corpus.py --dry_run --output {folder}")
    chain = FilterChain(recipe.filters)
    names = [name for name, _, _ in chain.rules]
    ledger = Ledger(stage="corpus")
    seen: dict[bytes, str] = {}
    with parquet.ParquetFile(path) as file:
        scored = file.schema_arrow.names
        for name in names:
            if name not in scored:
                raise ConfigError(
                    f"rule '{name}' was not scored in {path}{did_you_mean(name, scored)}; make a new dry run"
                )
        for row in _rows(file):
            scores = [row[name] for name in names]
            verdict = Verdict(row["excerpt"], scores, ledger.edited, chain.reasons(scores))
            ledger.read += 1
            ledger.judge(verdict, chain)
            reason, twin = verdict.reason, {}
            if reason is None and recipe.exact_dedup:
                if row["digest"] in seen:
                    reason, twin = "exact_duplicate", {"twin": seen[row["digest"]]}
                else:
                    seen[row["digest"]] = row["place"]
            if reason is None:
                ledger.keep(row["source"], row["excerpt"], row["bytes"], row[LANGUAGE_KEY])
            else:
                ledger.drop(
                    reason, row["source"], row["place"], row["excerpt"], row["bytes"], row[LANGUAGE_KEY], **twin
                )
        metadata = file.schema_arrow.metadata or file.metadata.metadata
        ledger.malformed = int(metadata[b"malformed"])
        ledger.malformed_examples = metadata[b"malformed_examples"].decode().splitlines()
    return ledger


def _rows(file: parquet.ParquetFile) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _schema(chain: FilterChain) -> pa.Schema:
    facts = [
        ("source", pa.string()),
        ("place", pa.string()),
        ("bytes", pa.int64()),
        ("digest", pa.binary(16)),
        (LANGUAGE_KEY, pa.string()),
    ]
    return pa.schema([*facts, ("excerpt", pa.string()), *((name, pa.float64()) for name, _, _ in chain.rules)])


@one_line_errors
def main() -> None:
    """``tools/recount_corpus.py``."""
    parser = CommandParser(description="Count a dry run's documents again by other thresholds.")
    parser.add_argument("scores", type=Path, metavar="DIR", help="what prepare_corpus.py --dry_run wrote")
    parser.add_argument(
        "--recipe", type=Path, required=True, metavar="YAML", help="with other thresholds, or rules off"
    )
    parser.add_argument("--ledger", type=Path, metavar="HTML", help="write the page here")
    arguments = parser.parse_args()
    recipe = validate(Recipe, read_yaml(arguments.recipe), str(arguments.recipe))
    ledger = recount(arguments.scores, recipe)
    if arguments.ledger is not None:
        if arguments.ledger.suffix != ".html":
            raise DataError(f"--ledger {arguments.ledger}: a page is written; give it the suffix .html")
        write_page(arguments.ledger, [ledger.to_json(FilterChain(recipe.filters))])
    ledger.print(Console(soft_wrap=True), f"{arguments.scores}, counted by {arguments.recipe}")
