"""Clean text becomes token ids in Megatron's indexed format: parallel, killable, the same bytes for any worker count."""

import argparse
import fcntl
import multiprocessing
import multiprocessing.connection
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from megalite.config.errors import DataError, one_line_errors
from megalite.corpus.readers import expand_inputs
from megalite.data.manifest import Manifest, existing_output, load_manifest
from megalite.data.preprocess_join import join_shards
from megalite.data.preprocess_plan import Plan, make_plan
from megalite.data.preprocess_unit import UnitResult, encode_unit, finished_result
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer

LOCK = "lock"


@one_line_errors
def main() -> None:
    """``tools/preprocess_data.py``."""
    parser = argparse.ArgumentParser(description="Tokenize documents into PREFIX.bin / PREFIX.idx (Megatron's format).")
    parser.add_argument("--input", nargs="+", required=True, metavar="GLOB", help=".jsonl, .txt (.gz, .zst), .parquet")
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output_prefix", type=Path, required=True, metavar="PREFIX")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column with the text")
    parser.add_argument("--append_eod", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--eod_token", help="end-of-document token; by default the tokenizer's eos")
    parser.add_argument("--on_error", choices=("skip", "fatal"), default="skip", help="what a malformed line does")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    preprocess(
        inputs=arguments.input,
        tokenizer_path=arguments.tokenizer,
        prefix=arguments.output_prefix,
        workers=arguments.workers,
        text_key=arguments.text_key,
        append_eod=arguments.append_eod,
        eod_token=arguments.eod_token,
        on_error=arguments.on_error,
        overwrite=arguments.overwrite,
        console=Console(soft_wrap=True),
    )


def preprocess(
    inputs: list[str],
    tokenizer_path: Path,
    prefix: Path,
    console: Console,
    workers: int = 1,
    text_key: str = "text",
    append_eod: bool = True,
    eod_token: str | None = None,
    on_error: str = "skip",
    overwrite: bool = False,
) -> Manifest:
    """Run the whole job, or go on with one that was killed.

    Raises: FileNotFoundError, DataError before anything is written; DataError for an empty corpus.
    """
    if workers < 1:
        raise DataError(f"--workers {workers}: give at least 1")
    paths = expand_inputs(inputs)
    tokenizer = load_tokenizer(tokenizer_path, eod_token)
    if append_eod and tokenizer.eos_id is None:
        raise DataError(
            f"{tokenizer_path}: does not say which token ends a document; give --eod_token or --no-append_eod"
        )
    eod_id = tokenizer.eos_id if append_eod else None
    plan = make_plan(paths, tokenizer_path, tokenizer, eod_id, text_key, on_error)  # type: ignore[arg-type]
    folder = Path(f"{prefix}.partial")
    if (finished := _finished(prefix, plan, folder, overwrite)) is not None:
        console.print(f"{prefix}: is finished already, nothing to do", highlight=False)
        return finished
    with _alone(folder):
        return _run(plan, folder, prefix, inputs, workers, tokenizer, console)


def _run(
    plan: Plan,
    folder: Path,
    prefix: Path,
    inputs: list[str],
    workers: int,
    tokenizer: LoadedTokenizer,
    console: Console,
) -> Manifest:
    _open_folder(folder, plan, console)
    began = time.perf_counter()
    results: dict[int, UnitResult] = {}
    columns = (TextColumn("tokenizing"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(unit.size for unit in plan.units))
        for number, result in _run_units(plan, folder, workers, tokenizer):
            results[number] = result
            progress.advance(task, plan.units[number].size)
    ordered = [results[number] for number in range(len(plan.units))]
    if sum(result.documents for result in ordered) == 0:
        shutil.rmtree(folder)
        raise DataError(
            f"{', '.join(inputs)}: no document with text in {len(plan.inputs)} file(s); check --text_key '{plan.text_key}'"
            + "".join(f"; {example}" for example in _examples(plan, ordered)[:1])
        )
    manifest = join_shards(plan, ordered, folder, prefix)
    shutil.rmtree(folder)
    _print_summary(console, prefix, plan, ordered, manifest, time.perf_counter() - began)
    return manifest


def _finished(prefix: Path, plan: Plan, folder: Path, overwrite: bool) -> Manifest | None:
    """The manifest where this very job is done. Raises: DataError where the output is something else."""
    existing = existing_output(prefix)
    if overwrite or not existing:
        return None
    if len(existing) == 3:
        manifest = load_manifest(prefix)
        if [path.stat().st_size for path in existing[:2]] != [manifest.bin.bytes, manifest.idx.bytes]:
            raise DataError(f"{existing[0]}: is not the size that {existing[2]} says; make it again with --overwrite")
        if manifest.plan == plan.digest():
            return manifest
    elif folder.exists():  # killed while the finished files were being moved to their names
        return None
    raise DataError(
        f"{existing[0]}: exists and was made from other inputs or options; choose another --output_prefix, or replace it "
        f"with --overwrite"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the work folder. Raises: DataError where another run holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another run is at work in it; wait for it or end it, then try again") from None
        yield


def _open_folder(folder: Path, plan: Plan, console: Console) -> None:
    """Make the work folder, or go on with the one of a killed run of the same plan."""
    plan_file = folder / "plan.json"
    if plan_file.exists():
        if plan_file.read_text() == plan.to_json():
            console.print(f"{folder}: going on with a run that was stopped", highlight=False)
            return
        console.print(f"{folder}: belongs to other inputs or options, starting over", highlight=False)
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
    partial = plan_file.with_suffix(".partial")
    partial.write_text(plan.to_json())
    partial.rename(plan_file)


def _run_units(plan: Plan, folder: Path, workers: int, tokenizer: LoadedTokenizer) -> Iterator[tuple[int, UnitResult]]:
    """Results of all units as they come, those of an earlier run first."""
    todo = []
    for number in range(len(plan.units)):
        if (result := finished_result(plan, number, folder)) is not None:
            yield number, result
        else:
            todo.append(number)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker is one core
    if workers == 1 or len(todo) <= 1:
        for number in todo:
            yield number, encode_unit(plan, number, folder, tokenizer)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), context, _start_worker, (plan, folder)) as pool:
        futures = {pool.submit(_work, number): number for number in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise DataError(
                f"{folder}: a worker process died (out of memory?); what is done is kept: run the same command again, "
                f"with fewer --workers if it dies again"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_worker_state: tuple[Plan, Path, LoadedTokenizer]


def _start_worker(plan: Plan, folder: Path) -> None:
    global _worker_state
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_state = (plan, folder, load_tokenizer(Path(plan.tokenizer)))


def _end_with_parent() -> None:
    """A parent that was killed can end nobody, and its pool would wait for work for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work(number: int) -> UnitResult:
    plan, folder, tokenizer = _worker_state
    return encode_unit(plan, number, folder, tokenizer)


def _examples(plan: Plan, results: list[UnitResult]) -> list[str]:
    """The first malformed places with their line numbers in the whole file."""
    examples, lines_before, path = [], 0, ""
    for unit, result in zip(plan.units, results, strict=True):
        if unit.path != path:
            lines_before, path = 0, unit.path
        for line, reason in result.examples:
            examples.append(f"{path}:{lines_before + line}: {reason}" if line else reason)
        lines_before += result.lines
    return examples[:5]


def _print_summary(
    console: Console, prefix: Path, plan: Plan, results: list[UnitResult], manifest: Manifest, seconds: float
) -> None:
    table = Table(title=f"{prefix}.bin / .idx", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("documents", f"{manifest.documents:,} from {len(plan.inputs)} file(s)")
    table.add_row("left out", f"{manifest.malformed:,} malformed, {manifest.empty:,} empty")
    for example in _examples(plan, results):
        table.add_row("", example)
    table.add_row(
        "tokens", f"{manifest.tokens:,} ({manifest.dtype}), {manifest.text_bytes / manifest.tokens:.3f} bytes each"
    )
    table.add_row("speed", f"{manifest.text_bytes / seconds / 1e6:.2f} MB of text a second, {seconds:.1f} s")
    table.add_row("size", f"{manifest.bin.bytes + manifest.idx.bytes:,} bytes")
    console.print(table)
