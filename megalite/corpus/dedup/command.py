"""Remove exact and near-duplicate documents from a corpus of any size, in bounded memory."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from megalite.config.command_line import CommandParser, number_of_workers, real_number, whole_number
from megalite.config.errors import DataError, one_line_errors
from megalite.config.explain import validate
from megalite.config.screen import screen
from megalite.corpus.dedup.dump_index import NAME, DumpIndex, known_parts
from megalite.corpus.dedup.lsh_index import SUFFIXES
from megalite.corpus.dedup.minhash import MOST_MINIMA, MOST_WORDS, Bands
from megalite.corpus.dedup.run import DedupRun, Outcome
from megalite.corpus.dedup.scan import Keep, Plan
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.units.unit_books import gather, merge_ledgers
from megalite.files.readers.input_units import find_inputs, input_file
from megalite.files.readers.malformed import OnError, add_max_malformed
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.work_folder import PLAN, forget, is_finished, work_folder, work_folder_of

WRITTEN = (PLAN, "kept-*.jsonl.zst", "removed.jsonl", "ledger.json", NAME, *(f"index-*{suffix}" for suffix in SUFFIXES))
FAIR_CHANCE = 0.99
"""Of finding a pair at the threshold; below it the user is told."""
PROCESS_MB = 128
"""What a process takes before it holds anything that grows with the corpus."""


@one_line_errors
def main() -> None:
    """``tools/dedup.py``."""
    parser = CommandParser(
        description="Remove exact and near-duplicate documents, and list every removed one with its twin."
    )
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="files or quoted globs")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for shards, ledger and removed documents")
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    parser.add_argument(
        "--on_error", choices=("skip", "fatal"), default="skip", help="skip malformed records, or stop at the first"
    )
    add_max_malformed(parser)
    defaults = Bands()
    parser.add_argument(
        "--threshold", type=real_number(0, 1), default=defaults.threshold, help="Jaccard similarity of duplicates"
    )
    parser.add_argument(
        "--ngram", type=whole_number(1, MOST_WORDS), default=defaults.ngram, help="length of an n-gram, in words"
    )
    parser.add_argument(
        "--bands", type=whole_number(1, MOST_MINIMA), default=defaults.bands, help="number of MinHash bands"
    )
    parser.add_argument(
        "--rows", type=whole_number(1, MOST_MINIMA), default=defaults.rows, help="MinHash values in a band"
    )
    parser.add_argument("--keep", choices=("first", "longest", "best"), default="first", help="which copy to keep")
    parser.add_argument("--quality_key", help="key of the quality score in the metadata; required with --keep best")
    parser.add_argument(
        "--against",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="also remove duplicates of these indexed outputs",
    )
    parser.add_argument("--write_index", action="store_true", help="write an index for a later --against")
    parser.add_argument("--workers", type=number_of_workers, default=1, help="worker processes; the output is the same")
    parser.add_argument(
        "--memory_mb", type=whole_number(), default=2048, help="memory limit of all processes together, in MB"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument("--audit", action="store_true", help="write nothing: measure recall on inserted copies")
    a = parser.parse_args()
    bands = validate(
        Bands, {key: getattr(a, key) for key in ("threshold", "ngram", "bands", "rows")}, "the command line"
    )
    console = screen()
    if a.audit:
        from megalite.corpus.dedup.audit import audit

        audit(a.input, bands, a.text_key, console, a.workers, a.memory_mb, a.max_malformed)
        return
    if a.output is None:
        parser.error("--output is needed (or --audit)")
    deduplicate(
        a.input, a.output, bands, console, a.keep, a.quality_key, a.against, a.write_index,
        a.text_key, a.on_error, a.workers, a.memory_mb, a.overwrite, a.max_malformed,
    )  # fmt: skip


def deduplicate(
    inputs: Sequence[str],
    output: Path,
    bands: Bands,
    console: Console,
    keep: Keep = "first",
    quality_key: str | None = None,
    against: Sequence[Path] = (),
    write_index: bool = False,
    text_key: str = "text",
    on_error: OnError = "skip",
    workers: int = 1,
    memory_mb: int = 2048,
    overwrite: bool = False,
    max_malformed: float | None = None,
) -> None:
    """Write ``kept-*.jsonl.zst``, ``removed.jsonl``, ``ledger.json`` and, if asked for, an index to ``output``.

    The output appears as a whole or not at all, has the same bytes for any number of workers and any memory, and a run
    that was killed goes on where it was.

    Raises: FileNotFoundError, DataError.
    """
    share = share_of(memory_mb, workers)
    if (keep == "best") != (quality_key is not None):
        raise DataError(f"--keep {keep}: --quality_key goes with --keep best, and --keep best with --quality_key")
    known = known_parts(list(against), bands)
    plan = Plan(
        inputs=find_inputs(inputs, text_key, on_error),
        bands=bands,
        keep=keep,
        quality_key=quality_key,
        against=tuple(input_file(folder / NAME) for folder in against),
        write_index=write_index,
    )
    content = plan.model_dump_json(indent=1) + "\n"
    work = work_folder_of(output)
    if is_finished(output, content) and not overwrite:
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        forget(work)
        return
    check_output(output, WRITTEN, overwrite, [*(file.path for file in plan.inputs.files), *against])
    if (chance := bands.chance(bands.threshold)) < FAIR_CHANCE:
        told = (
            f"--bands {bands.bands} --rows {bands.rows} find a pair at {bands.threshold} with a chance of {chance:.1%}"
        )
        console.print(f"{told}; fewer --rows or more --bands miss less", highlight=False)
    began = time.perf_counter()
    with work_folder(work, content) as folder:
        outcome = DedupRun(plan, folder, workers, share, console).run(known, max_malformed)
        ledger = _publish(plan, folder, output, outcome)
    ledger.print(console, str(output))
    told = f"{outcome.compared:,} pairs compared exactly, {time.perf_counter() - began:.1f} s"
    console.print(told, highlight=False)
    if unscored := sum(unit.unscored for unit in outcome.scanned):
        told = f"{unscored:,} documents have no number '{quality_key}' in their meta and go before all that have one"
        console.print(told, highlight=False)


def share_of(memory_mb: int, workers: int) -> int:
    """Bytes that one worker of ``--workers`` may take for what grows with the corpus. Raises: DataError."""
    if workers < 1:
        raise DataError(f"--workers {workers}: give at least 1")
    share = memory_mb * 2**20 // workers - PROCESS_MB * 2**20
    if share < 16 << 20:
        raise DataError(
            f"--memory_mb {memory_mb}: too little for {workers} worker(s); give {workers * (PROCESS_MB + 16)} or more"
        )
    return share


def _publish(plan: Plan, folder: Path, output: Path, outcome: Outcome) -> Ledger:
    """Move the units' files from the work folder to the output, with the books of all. The output is then whole."""
    ledger = merge_ledgers(outcome.written)
    read = sum(unit.documents for unit in outcome.scanned)
    assert ledger.read == read, f"{read} documents were hashed and {ledger.read} written or removed"
    books = {"compared": outcome.compared, "chance_at_threshold": plan.bands.chance(plan.bands.threshold)}
    values = ledger.to_json() | {"dedup": plan.bands.model_dump() | books}
    with whole_folder(output) as partial:
        gather(folder, partial, outcome.written, "removed.jsonl")
        (partial / "ledger.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if plan.write_index:
            paths = tuple(file.path for file in plan.inputs.files)
            documents = tuple(unit.ledger["kept"] for unit in outcome.written)
            DumpIndex(bands=plan.bands, paths=paths, documents=documents).write(partial)
        (partial / PLAN).write_text((folder / PLAN).read_text())
    return ledger
