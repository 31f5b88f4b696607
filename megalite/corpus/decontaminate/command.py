"""``tools/decontaminate.py``: removes documents that hold items of evaluation sets."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from megalite.config.command_line import CommandParser, number_of_workers, real_number, whole_number
from megalite.config.errors import one_line_errors
from megalite.config.explain import validate
from megalite.config.screen import screen
from megalite.corpus.decontaminate.contamination import Contamination
from megalite.corpus.decontaminate.eval_items import find_eval_files
from megalite.corpus.decontaminate.stage import NAME, DecontaminatePlan, decontaminate_stage, eval_index
from megalite.corpus.dedup.minhash import MOST_WORDS
from megalite.corpus.units.kept_units import all_written, read_ledger
from megalite.corpus.units.written_units import gather_files, refuse_unreadable
from megalite.files.readers.input_units import find_inputs, input_file
from megalite.files.readers.options import ReadOptions, add_read_options, read_options
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.job import Stage
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.run import job_folder, run_job
from megalite.jobs.work_folder import PLAN, forget, is_finished, work_folder_of

LISTING = "contaminated.jsonl"
WRITTEN = (PLAN, "kept-*.jsonl.zst", LISTING, "ledger.json")


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
    add_read_options(parser)
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
    decontaminate(a.input, a.against, a.output, rule, screen(), read_options(a), a.workers, a.overwrite)


def decontaminate(
    inputs: Sequence[str],
    against: Sequence[str],
    output: Path,
    rule: Contamination,
    console: Console,
    read: ReadOptions = ReadOptions(),  # noqa: B008
    workers: int = 1,
    overwrite: bool = False,
) -> None:
    """Write ``kept-*.jsonl.zst``, ``contaminated.jsonl`` and ``ledger.json`` to ``output``.

    The output appears as a whole or not at all, and has the same bytes for any number of workers. A run that was killed
    resumes.

    Args:
        against: evaluation sets, files or globs.

    Raises: FileNotFoundError, DataError.
    """
    files = tuple(input_file(path) for path in find_eval_files(against))
    plan = DecontaminatePlan(inputs=find_inputs(inputs, read.text_key, read.on_error), against=files, rule=rule)
    content = plan.model_dump_json(indent=1) + "\n"
    work = work_folder_of(output)
    if is_finished(output, content) and not overwrite:
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        forget(work)
        return
    check_output(output, WRITTEN, overwrite, [file.path for file in (*plan.inputs.files, *files)])
    index = eval_index(plan.against, plan.rule)
    with WorkerPool(workers) as pool, job_folder("decontaminate", content, work) as job:
        run_job(job, pool, console)
        ledger = read_ledger(job, NAME)
        examples = ledger.malformed_examples
        refuse_unreadable(job.folder, plan.inputs, ledger.read, ledger.malformed, examples, read.max_malformed)
        facts = {"items": len(index.items), "too_short": dict(index.too_short)} | rule.model_dump()
        values = ledger.to_json() | {"decontamination": facts}
        with whole_folder(output) as partial:
            gather_files(job.folder / NAME, partial, all_written(job.folder / NAME, len(plan.inputs.units)), LISTING)
            (partial / "ledger.json").write_text(
                json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            (partial / PLAN).write_text(content)
    ledger.print(console, str(output))
    console.print(
        f"{len(index.items):,} texts of evaluation items compared; {index.too_short.total():,} have too few words",
        highlight=False,
    )


def read_plan(content: str) -> DecontaminatePlan:
    """``plan.json`` of a work folder."""
    return DecontaminatePlan.model_validate_json(content)


def all_stages(plan: DecontaminatePlan) -> list[Stage]:
    """Decontamination alone."""
    return [decontaminate_stage(len(plan.inputs.units), lambda _: plan, before=None)]
