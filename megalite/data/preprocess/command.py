"""Clean text becomes token ids in Megatron's indexed format: parallel, killable, the same bytes for any worker count."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from megalite.config.command_line import CommandParser, number_of_workers
from megalite.config.errors import DataError, one_line_errors
from megalite.config.screen import screen
from megalite.data.dataset_output import check_dataset_output
from megalite.data.manifest import Manifest, existing_output, load_manifest
from megalite.data.preprocess.encoder_check import (
    EncoderChoice,
    EncoderMismatchError,
    checked,
    choose_encoder,
    sample_texts,
)
from megalite.data.preprocess.encoders import Encoder
from megalite.data.preprocess.join import join_shards
from megalite.data.preprocess.plan import Level, Plan, make_plan
from megalite.data.preprocess.unit import UnitResult, finished_result, result_path
from megalite.data.preprocess.workers import run_units
from megalite.files.own_folder import is_ours, remove_ours
from megalite.files.place import beside
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import OnError, add_max_malformed, refuse_malformed
from megalite.jobs.work_folder import told_of_earlier, work_folder
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer


@one_line_errors
def main() -> None:
    """``tools/preprocess_data.py``."""
    parser = CommandParser(
        description="Tokenize documents into PREFIX.bin / PREFIX.idx (Megatron's format). Text that spells a special token "
        "stays text."
    )
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="GLOB", help=".jsonl, .txt, .warc, .html (.gz, .zst), .parquet"
    )
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="tokenizer folder")
    parser.add_argument(
        "--output",
        "--output_prefix",
        type=Path,
        required=True,
        metavar="PREFIX",
        help="dataset to write, without suffix",
    )
    parser.add_argument(
        "--workers",
        type=number_of_workers,
        default=os.cpu_count() or 1,
        help="worker processes; the output is the same",
    )
    parser.add_argument(
        "--text_key",
        "--keys",
        nargs="+",
        default=["text"],
        metavar="KEY",
        help="keys or columns of the text; with several, each becomes a dataset PREFIX_KEY_LEVEL",
    )
    parser.add_argument(
        "--level", choices=get_args(Level), default="document", help="what becomes one sequence of the .idx"
    )
    parser.add_argument("--language", default="en", help="language of --level sentence, as an ISO 639-1 code")
    parser.add_argument(
        "--encoder", choices=get_args(EncoderChoice), default="auto", help="library that encodes; all give the same ids"
    )
    parser.add_argument(
        "--append_eod",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="end every document with the eod token",
    )
    parser.add_argument("--eod_token", help="end-of-document token; default: the tokenizer's eos_token")
    parser.add_argument(
        "--parse_special_tokens", action="store_true", help="turn text that spells a special token into that token"
    )
    parser.add_argument(
        "--on_error", choices=("skip", "fatal"), default="skip", help="skip malformed records, or stop at the first"
    )
    add_max_malformed(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    preprocess(
        inputs=arguments.input,
        tokenizer_path=arguments.tokenizer,
        prefix=arguments.output,
        workers=arguments.workers,
        keys=arguments.text_key,
        level=arguments.level,
        language=arguments.language,
        encoder=arguments.encoder,
        append_eod=arguments.append_eod,
        eod_token=arguments.eod_token,
        parse_special_tokens=arguments.parse_special_tokens,
        on_error=arguments.on_error,
        max_malformed=arguments.max_malformed,
        overwrite=arguments.overwrite,
        console=screen(),
    )


def preprocess(
    inputs: list[str],
    tokenizer_path: Path,
    prefix: Path,
    console: Console,
    workers: int = 1,
    keys: Sequence[str] = ("text",),
    level: Level = "document",
    language: str = "en",
    encoder: EncoderChoice = "auto",
    append_eod: bool = True,
    eod_token: str | None = None,
    parse_special_tokens: bool = False,
    on_error: OnError = "skip",
    overwrite: bool = False,
    max_malformed: float | None = None,
) -> list[Manifest]:
    """Run the whole job, or go on with one that was killed; a manifest for each key.

    Raises: FileNotFoundError, DataError before anything is written; DataError for an empty corpus, a full disk, an
    encoder that turns out to be inexact.
    """
    if workers < 1:
        raise DataError(f"--workers {workers}: give at least 1")
    paths = expand_inputs(inputs)
    tokenizer = load_tokenizer(tokenizer_path, eod_token, parse_special_tokens)
    if append_eod and tokenizer.eos_id is None:
        raise DataError(
            f"{tokenizer_path}: does not say which token ends a document; give --eod_token or --no-append_eod"
        )
    eod_id = tokenizer.eos_id if append_eod else None
    plan = make_plan(
        paths, tokenizer_path, tokenizer, eod_id, keys, level, language, on_error, eod_token, parse_special_tokens
    )
    folder = beside(prefix, ".partial")
    # The files of the tokenizer are read, not its folder: data beside them take nothing away.
    read = [*paths, *(tokenizer_path.iterdir() if tokenizer_path.is_dir() else [tokenizer_path])]
    for target in plan.prefixes(prefix):
        check_dataset_output(target, folder, read, overwrite)
    if not overwrite and (finished := _finished(prefix, plan, folder)):
        console.print(f"{prefix}: is finished already, nothing to do", highlight=False)
        return finished
    texts = sample_texts(plan)
    check = checked(tokenizer_path, tokenizer, texts)
    chosen, reasons = choose_encoder(encoder, tokenizer.tokenizer, texts)
    if told := told_of_earlier(folder, plan.to_json()):
        console.print(told, highlight=False)
    with work_folder(folder, plan.to_json()):
        return _run(plan, folder, prefix, inputs, workers, tokenizer, check, chosen, reasons, console, max_malformed)


def _run(
    plan: Plan,
    folder: Path,
    prefix: Path,
    inputs: list[str],
    workers: int,
    tokenizer: LoadedTokenizer,
    check: str,
    encoder: Encoder,
    reasons: list[str],
    console: Console,
    max_malformed: float | None,
) -> list[Manifest]:
    began = time.perf_counter()
    results: dict[int, UnitResult] = {}
    columns = (TextColumn("tokenizing"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(unit.size for unit in plan.units))
        try:
            for number, result in run_units(plan, folder, workers, tokenizer, encoder):
                results[number] = result
                progress.advance(task, plan.units[number].size)
        except EncoderMismatchError:
            _forget(plan, folder, encoder)
            raise
    ordered = [results[number] for number in range(len(plan.units))]
    if sum(result.documents for result in ordered) == 0:
        remove_ours(folder)
        raise DataError(
            f"{', '.join(inputs)}: no document with text in {len(plan.inputs)} file(s); check --text_key "
            f"{' '.join(plan.keys)}" + "".join(f"; {example}" for example in _examples(plan, ordered)[:1])
        )
    records, malformed = (
        sum(count) for count in zip(*((r.documents + r.empty, r.malformed) for r in ordered), strict=True)
    )
    refuse_malformed(records, malformed, _examples(plan, ordered), max_malformed)
    manifests = join_shards(plan, ordered, folder, prefix, check)
    console.print(_summary(prefix, plan, ordered, manifests, reasons, time.perf_counter() - began))
    return manifests


def _finished(prefix: Path, plan: Plan, folder: Path) -> list[Manifest]:
    """The manifests where this very job is done. Raises: DataError where the output is something else."""
    manifests: list[Manifest] = []
    for target in plan.prefixes(prefix):
        existing = existing_output(target)
        if len(existing) == 3:
            manifest = load_manifest(target)
            if [path.stat().st_size for path in existing[:2]] != [manifest.bin.bytes, manifest.idx.bytes]:
                raise DataError(
                    f"{existing[0]}: is not the size that {existing[2]} says; make it again with --overwrite"
                )
            if manifest.plan == plan.digest():
                manifests.append(manifest)
                continue
        elif not existing or is_ours(folder):  # killed while the finished files were being moved to their names
            continue
        raise DataError(
            f"{existing[0]}: exists and was made from other inputs or options; choose another --output, or "
            f"replace it with --overwrite"
        )
    return manifests if len(manifests) == len(plan.keys) else []


def _forget(plan: Plan, folder: Path, encoder: Encoder) -> None:
    """Remove the results of an encoder that was found out, so that no later run builds on them."""
    for number in range(len(plan.units)):
        result = finished_result(plan, number, folder)
        if result is not None and result.encoder == encoder.name:
            result_path(folder, number).unlink()


def _examples(plan: Plan, results: list[UnitResult]) -> list[str]:
    """The first malformed places with their line numbers in the whole file."""
    examples, lines_before = [], 0
    for unit, result in zip(plan.units, results, strict=True):
        if unit.start == 0:
            lines_before = 0
        examples += [str(place._replace(line=lines_before + place.line)) for place in result.places]
        lines_before += result.lines
    return examples[:5]


def _summary(
    prefix: Path,
    plan: Plan,
    results: list[UnitResult],
    manifests: list[Manifest],
    reasons: list[str],
    seconds: float,
) -> Table:
    table = Table(title=f"{prefix}.bin / .idx", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    first = manifests[0]
    table.add_row("documents", f"{first.documents:,} from {len(plan.inputs)} file(s)")
    table.add_row("left out", f"{first.malformed:,} malformed, {first.empty:,} empty")
    for example in _examples(plan, results):
        table.add_row("", example)
    for target, manifest in zip(plan.prefixes(prefix), manifests, strict=True):
        name = "tokens" if len(manifests) == 1 else target.name
        share = f", {manifest.text_bytes / manifest.tokens:.3f} bytes each" if manifest.tokens else ""
        table.add_row(name, f"{manifest.tokens:,} ({manifest.dtype}){share}")
        if plan.level == "sentence":
            table.add_row("", f"{manifest.sequences:,} sentences, by {plan.splitter}")
    spelled = sum(manifest.special_spellings or 0 for manifest in manifests)
    rule = "became those tokens" if plan.parse_special_tokens else "stayed text"
    table.add_row("special tokens", f"{spelled:,} spelled in the text, which {rule}")
    table.add_row("tokenizer", escape(first.tokenizer_check or ""))
    table.add_row("encoder", ", ".join(sorted({result.encoder for result in results})))
    for reason in reasons:
        table.add_row("", f"not {reason}")
    text_bytes = sum(manifest.text_bytes for manifest in manifests)
    table.add_row("speed", f"{text_bytes / seconds / 1e6:.2f} MB of text a second, {seconds:.1f} s")
    table.add_row("size", f"{sum(manifest.bin.bytes + manifest.idx.bytes for manifest in manifests):,} bytes")
    return table
