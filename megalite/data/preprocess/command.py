"""``tools/preprocess_data.py``: clean text to token ids in Megatron's format; killable, same bytes for any worker count."""

import argparse
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from rich.console import Console

from megalite.config.command_line import CommandParser, number_of_workers
from megalite.config.errors import DataError, one_line_errors
from megalite.config.screen import screen
from megalite.data.dataset_output import check_dataset_output
from megalite.data.manifest import Manifest, existing_output, load_manifest
from megalite.data.preprocess.encoder_check import checked, choose_encoder, sample_texts
from megalite.data.preprocess.encoders import Encoder
from megalite.data.preprocess.job import NAME, set_encoder
from megalite.data.preprocess.join import join_shards
from megalite.data.preprocess.plan import EncoderChoice, Level, PreprocessOptions, PreprocessPlan, make_plan
from megalite.data.preprocess.summary import malformed_examples, summary
from megalite.data.preprocess.unit import UnitResult, inexact_encoders, read_result
from megalite.files.own_folder import is_ours, remove_ours
from megalite.files.place import beside
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import add_max_malformed, refuse_malformed
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.run import Pool, job_folder, run_job
from megalite.jobs.work_folder import resume_message
from megalite.tokenizer.load import load_tokenizer


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
    options = PreprocessOptions(
        keys=arguments.text_key,
        level=arguments.level,
        language=arguments.language,
        encoder=arguments.encoder,
        append_eod=arguments.append_eod,
        eod_token=arguments.eod_token,
        parse_special_tokens=arguments.parse_special_tokens,
        on_error=arguments.on_error,
        max_malformed=arguments.max_malformed,
    )
    preprocess(
        arguments.input,
        arguments.tokenizer,
        arguments.output,
        screen(),
        arguments.workers,
        options,
        arguments.overwrite,
    )


def preprocess(
    inputs: list[str],
    tokenizer_path: Path,
    prefix: Path,
    console: Console,
    workers: int = 1,
    options: PreprocessOptions = PreprocessOptions(),  # noqa: B008
    overwrite: bool = False,
    pool: Pool | None = None,
) -> list[Manifest]:
    """Tokenize the inputs, or resume a run that was killed; returns a manifest for each key.

    Args:
        pool: encodes the units instead of processes of this machine.

    Raises: FileNotFoundError, DataError before anything is written; DataError for an empty corpus, a full disk, an
    encoder that turns out to be inexact.
    """
    job = _Tokenization(inputs, tokenizer_path, prefix, options)
    if (finished := job.check_output(overwrite)) is not None:
        console.print(f"{prefix}: is finished already, nothing to do", highlight=False)
        return finished
    with ExitStack() as stack:
        workers_pool = pool if pool is not None else stack.enter_context(WorkerPool(workers, may_fork=True))
        return job.run(workers_pool, console)


def plan_tokens(inputs: list[str], tokenizer_path: Path, prefix: Path, options: PreprocessOptions) -> None:
    """Leave a planned work folder from which ``jobs.run_task`` can encode, unless the output is finished.

    Raises: as :func:`preprocess`.
    """
    job = _Tokenization(inputs, tokenizer_path, prefix, options)
    if job.check_output(overwrite=False) is None:
        job.plan_only()


def tokens_folder(prefix: Path) -> Path:
    """The work folder of ``--output PREFIX``."""
    return beside(prefix, ".partial")


class _Tokenization:
    """One run of the command."""

    def __init__(self, inputs: list[str], tokenizer_path: Path, prefix: Path, options: PreprocessOptions) -> None:
        self._inputs, self._prefix, self._options, self._tokenizer_path = inputs, prefix, options, tokenizer_path
        paths = expand_inputs(inputs)
        self._tokenizer = load_tokenizer(tokenizer_path, options.eod_token, options.parse_special_tokens)
        self.plan = make_plan(paths, tokenizer_path, self._tokenizer, options)
        self._folder = tokens_folder(prefix)

    def check_output(self, overwrite: bool) -> list[Manifest] | None:
        """The manifests if the output is finished. Raises: DataError if it cannot be written."""
        # The files of the tokenizer are read, not its folder: new files beside them do no harm.
        tokenizer = self._tokenizer_path
        read = [Path(item.path) for item in self.plan.inputs]
        read += tokenizer.iterdir() if tokenizer.is_dir() else [tokenizer]
        for target in self.plan.prefixes(self._prefix):
            check_dataset_output(target, self._folder, read, overwrite)
        return None if overwrite else _finished(self._prefix, self.plan, self._folder) or None

    def run(self, pool: Pool, console: Console) -> list[Manifest]:
        """Encode all units and join them."""
        check, encoder, reasons = self._choose()
        if message := resume_message(self._folder, self.plan.to_json()):
            console.print(message, highlight=False)
        began = time.perf_counter()
        with job_folder("tokens", self.plan.to_json(), self._folder) as job:
            set_encoder(job, self._tokenizer, encoder)
            run_job(job, pool, console)
            results = [read_result(job.folder / NAME, number) for number in range(len(self.plan.units))]
            self._refuse_unreadable(results)
            manifests = join_shards(self.plan, results, job.folder / NAME, self._prefix, check)
        console.print(summary(self._prefix, self.plan, results, manifests, reasons, time.perf_counter() - began))
        return manifests

    def plan_only(self) -> None:
        """Write the plan and the encoder to the work folder, and leave it."""
        _, encoder, _ = self._choose()
        with job_folder("tokens", self.plan.to_json(), self._folder, keep=True) as job:
            set_encoder(job, self._tokenizer, encoder)

    def _choose(self) -> tuple[str, Encoder, list[str]]:
        """How the tokenizer was checked, the encoder, and why no faster one is used."""
        texts = sample_texts(self.plan)
        check = checked(self._tokenizer_path, self._tokenizer, texts)
        inexact = inexact_encoders(self._folder / NAME)
        return check, *choose_encoder(self._options.encoder, self._tokenizer.tokenizer, texts, inexact)

    def _refuse_unreadable(self, results: list[UnitResult]) -> None:
        """Raises: DataError if no document has text, or if too much is malformed."""
        examples, documents = malformed_examples(self.plan, results), sum(result.documents for result in results)
        if documents == 0:
            remove_ours(self._folder)
            raise DataError(
                f"{', '.join(self._inputs)}: no document with text in {len(self.plan.inputs)} file(s); check --text_key "
                f"{' '.join(self.plan.keys)}" + "".join(f"; {example}" for example in examples[:1])
            )
        records = documents + sum(result.empty for result in results)
        malformed = sum(result.malformed for result in results)
        refuse_malformed(records, malformed, examples, self._options.max_malformed)


def _finished(prefix: Path, plan: PreprocessPlan, folder: Path) -> list[Manifest]:
    """The manifests if this very job is done. Raises: DataError if the output is something else."""
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
