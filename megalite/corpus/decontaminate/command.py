"""Take documents out of a corpus that hold items of evaluation sets."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from megalite.config.command_line import CommandParser, number_of_workers, real_number, whole_number
from megalite.config.errors import DataError, one_line_errors
from megalite.config.explain import validate
from megalite.config.screen import screen
from megalite.config.section import Section
from megalite.corpus.decontaminate.contamination import Contamination, examine
from megalite.corpus.decontaminate.eval_index import EvalIndex
from megalite.corpus.decontaminate.eval_items import find_eval_files, read_eval_items
from megalite.corpus.dedup.minhash import MOST_WORDS
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.units.kept_shards import KeptShards, json_line
from megalite.corpus.units.unit_books import (
    Written,
    gather,
    language_of,
    merge_ledgers,
    refuse_unreadable,
    remember,
    remembered,
    source_of,
)
from megalite.files.readers.input_units import InputFile, Inputs, find_inputs, input_file
from megalite.files.readers.malformed import OnError, ReadReport, add_max_malformed
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.work_folder import PLAN, forget, is_finished, work_folder, work_folder_of

LISTING = "contaminated.jsonl"
WRITTEN = (PLAN, "kept-*.jsonl.zst", LISTING, "ledger.json")


class Plan(Section):
    """Everything that decides the bytes of the output."""

    inputs: Inputs
    against: tuple[InputFile, ...]
    rule: Contamination


@one_line_errors
def main() -> None:
    """``tools/decontaminate.py``."""
    parser = CommandParser(description="Remove documents that contain evaluation items, and list every removed one.")
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="files or quoted globs")
    parser.add_argument(
        "--against", nargs="+", required=True, metavar="FILE", help="evaluation sets: files or quoted globs"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for shards, ledger and removed documents"
    )
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    parser.add_argument(
        "--on_error", choices=("skip", "fatal"), default="skip", help="skip malformed records, or stop at the first"
    )
    add_max_malformed(parser)
    parser.add_argument(
        "--eval_keys", nargs="+", default=[], metavar="KEY", help="search only for these texts of an item"
    )
    parser.add_argument("--ngram", type=whole_number(1, MOST_WORDS), default=13, help="consecutive words in common")
    parser.add_argument("--min_words", type=whole_number(1, MOST_WORDS), default=8, help="minimum words of an item")
    parser.add_argument(
        "--min_overlap", type=real_number(0, 1), default=0.0, help="share of an item's n-grams; 0: any one"
    )
    parser.add_argument("--workers", type=number_of_workers, default=1, help="worker processes; the output is the same")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    a = parser.parse_args()
    values = {"ngram": a.ngram, "min_words": a.min_words, "min_overlap": a.min_overlap, "eval_keys": a.eval_keys}
    rule = validate(Contamination, values, "the command line")
    console = screen()
    decontaminate(
        a.input, a.against, a.output, rule, console, a.text_key, a.on_error, a.workers, a.overwrite, a.max_malformed
    )


def decontaminate(
    inputs: Sequence[str],
    against: Sequence[str],
    output: Path,
    rule: Contamination,
    console: Console,
    text_key: str = "text",
    on_error: OnError = "skip",
    workers: int = 1,
    overwrite: bool = False,
    max_malformed: float | None = None,
) -> None:
    """Write ``kept-*.jsonl.zst``, ``contaminated.jsonl`` and ``ledger.json`` to ``output``.

    The output appears as a whole or not at all, has the same bytes for any number of workers, and a run that was killed
    goes on where it was.

    Raises: FileNotFoundError, DataError.
    """
    if workers < 1:
        raise DataError(f"--workers {workers}: give at least 1")
    files = tuple(input_file(path) for path in find_eval_files(against))
    plan = Plan(inputs=find_inputs(inputs, text_key, on_error), against=files, rule=rule)
    content = plan.model_dump_json(indent=1) + "\n"
    work = work_folder_of(output)
    if is_finished(output, content) and not overwrite:
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        forget(work)
        return
    check_output(output, WRITTEN, overwrite, [file.path for file in (*plan.inputs.files, *files)])
    index = eval_index(plan.against, plan.rule)
    with work_folder(work, content) as folder:
        written = _write_units(plan, folder, workers, console)
        ledger = merge_ledgers(written)
        examples = ledger.malformed_examples
        refuse_unreadable(folder, plan.inputs, ledger.read, ledger.malformed, examples, max_malformed)
        books = {"items": len(index.items), "too_short": dict(index.too_short)} | rule.model_dump()
        values = ledger.to_json() | {"decontamination": books}
        with whole_folder(output) as partial:
            gather(folder, partial, written, LISTING)
            (partial / "ledger.json").write_text(
                json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            (partial / PLAN).write_text(content)
    ledger.print(console, str(output))
    told = f"{len(index.items):,} texts of evaluation items looked for; {index.too_short.total():,} have too few words"
    console.print(told, highlight=False)


def _write_units(plan: Plan, folder: Path, workers: int, console: Console) -> list[Written]:
    columns = (TextColumn("decontaminating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    units = range(len(plan.inputs.units))
    written = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, WorkerPool(workers) as pool:
        task = progress.add_task("", total=len(units))
        for unit in pool.map(functools.partial(write_unit, plan, folder), units):
            written.append(unit)
            progress.advance(task)
    return written


@functools.lru_cache(maxsize=1)
def eval_index(against: tuple[InputFile, ...], rule: Contamination) -> EvalIndex:
    """The items of evaluation sets; made once a process.

    Raises: DataError where a set is damaged, or no text in any has enough words.
    """
    index = EvalIndex(
        read_eval_items([Path(file.path) for file in against], rule.eval_keys), rule.ngram, rule.min_words
    )
    if not index.items:
        names = ", ".join(file.path for file in against[:3])
        raise DataError(f"{names}: no text has {min(rule.min_words, rule.ngram)} words; lower min_words")
    return index


def write_unit(plan: Plan, folder: Path, number: int) -> Written:
    """Write ``kept-NUMBER-*.jsonl.zst`` and ``contaminated-NUMBER.jsonl``, or take them as they are there."""
    if (written := remembered(folder, number)) is not None:
        return written
    index = eval_index(plan.against, plan.rule)
    ledger, report = Ledger(stage="decontaminate"), ReadReport()
    listing = f"contaminated-{number:05d}.jsonl"
    documents = (document for _, document in plan.inputs.documents(number, report))
    with whole_file(folder / listing) as flagged, KeptShards(folder, number) as shards:
        for document, entry in examine(documents, index, plan.rule):
            ledger.read += 1
            if entry is None:
                ledger.keep(source_of(document), document.text, language=language_of(document))
                shards.write(document)
                continue
            place = f"{document.path}:{document.line}"
            name = entry["items"][0]["path"].rpartition("/")[2]
            ledger.drop(
                f"contaminated by {name}", source_of(document), place, entry["matched"], language=language_of(document)
            )
            flagged.write(json_line(entry))
    ledger.malformed, ledger.malformed_examples = report.malformed, report.examples
    return remember(folder, number, listing, shards.names, ledger)
