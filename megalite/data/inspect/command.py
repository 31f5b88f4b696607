"""``tools/inspect_data.py``: statistics of a dataset, documents and samples as text, and the samples of a step."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from megalite.config.command_line import MOST, CommandParser, whole_number
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.load import load_run_config
from megalite.config.schema import RunSection
from megalite.config.screen import screen
from megalite.data.indexed import IndexedDataset
from megalite.data.inspect.sample_view import SampleView, traced, view_document, view_run_sample, view_sample
from megalite.data.inspect.statistics import dataset_statistics
from megalite.data.inspect.tables import print_statistics, print_views
from megalite.data.manifest import load_manifest, manifest_path, missing_manifest, refuse_other_dataset
from megalite.data.samples.blend import open_blend
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer


@one_line_errors
def main() -> None:
    """``tools/inspect_data.py``."""
    arguments = parse_arguments()
    console = screen()
    if arguments.config is not None:
        views = run_views(arguments)
    else:
        tokenizer = (
            None if arguments.tokenizer is None else load_tokenizer(arguments.tokenizer, parse_special_tokens=True)
        )
        if arguments.document is None and arguments.sample is None:
            _statistics(arguments.prefix, tokenizer, arguments.json, console)
            return
        views = dataset_views(arguments, tokenizer)
    if arguments.json:
        _print_json([view.to_json() for view in views])
    else:
        print_views(views, arguments.config is None or arguments.sample is not None, console)


def parse_arguments() -> argparse.Namespace:
    """The command line. Raises: ConfigError if options contradict each other."""
    parser = CommandParser(
        description="Print statistics, documents or samples of a .bin/.idx dataset, or the samples of a training run.",
        epilog="With --config, section.key=value changes one key of it, as with pretrain.py.",
    )
    parser.add_argument(
        "prefix", nargs="?", help="dataset, without .bin and .idx: print statistics, a document or a sample"
    )
    parser.add_argument("--document", type=whole_number(-MOST, 1 << 62), metavar="I", help="decode document I")
    parser.add_argument(
        "--sample",
        type=whole_number(-MOST, 1 << 62),
        metavar="N",
        help="decode training sample N, or sample N of --step",
    )
    parser.add_argument(
        "--epoch", type=whole_number(-MOST, 1 << 62), help="count --sample from the start of this epoch"
    )
    parser.add_argument(
        "--sequence_length", type=whole_number(1, 1 << 30), default=2048, help="sequence length of --sample, in tokens"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**64 - 1),
        default=RunSection.model_fields["seed"].default,
        help="run.seed of --sample",
    )
    parser.add_argument("--tokenizer", type=Path, help="print text, not ids, and verify the trace by encoding it again")
    parser.add_argument("--config", type=Path, help="YAML of a training run")
    parser.add_argument(
        "--step", type=whole_number(-MOST, 1 << 62), help="with --config: this optimizer step, from 1 on"
    )
    parser.add_argument("--no_trace", action="store_true", help="do not search for the documents in their source files")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="with --config: keys of the configuration to change"
    )
    arguments = parser.parse_args()
    if arguments.config is not None:
        if arguments.prefix is not None:  # the first override is in the place of PREFIX
            arguments.overrides.insert(0, arguments.prefix)
        if arguments.step is None:
            raise ConfigError("command line: --config needs --step N, the optimizer step to inspect")
        if arguments.document is not None or arguments.epoch is not None:
            raise ConfigError("command line: --document and --epoch belong to a PREFIX, not to --config")
    elif arguments.prefix is None or arguments.overrides:
        raise ConfigError("command line: give one PREFIX, or --config with --step")
    elif arguments.epoch is not None and arguments.sample is None:
        raise ConfigError("command line: --epoch needs --sample N, counted from the epoch's first")
    elif arguments.document is not None and arguments.sample is not None:
        raise ConfigError("command line: give --document or --sample, not both")
    return arguments


def dataset_views(arguments: argparse.Namespace, tokenizer: LoadedTokenizer | None) -> list[SampleView]:
    """A document or sample of one dataset. Raises: ConfigError if the number is out of range."""
    if arguments.document is not None:
        source = IndexedDataset(arguments.prefix)
        _must_be_in("--document", arguments.document, source.num_documents)
        views = [view_document(source, arguments.document, tokenizer)]
    else:
        dataset = GPTDataset(arguments.prefix, arguments.sequence_length, arguments.seed)
        source, sample = dataset.source, arguments.sample
        if arguments.epoch is not None:
            _must_be_in("--epoch", arguments.epoch, 1 << 31)
            first, after = (dataset.first_window(epoch) for epoch in (arguments.epoch, arguments.epoch + 1))
            _must_be_in("--sample", sample, after - first)
            sample += first
        _must_be_in("--sample", sample, 1 << 62)  # the stream of epochs has no end
        views = [view_sample(dataset, sample, tokenizer)]
    return views if arguments.no_trace else traced(views, [source], tokenizer)


def run_views(arguments: argparse.Namespace) -> list[SampleView]:
    """The samples of a step of a run, or one of them; they do not depend on the layout. Raises: ConfigError."""
    config = load_run_config(arguments.config, arguments.overrides)
    steps, batch = config.training.steps, config.batch.global_batch_size
    if not 1 <= arguments.step <= steps:
        raise ConfigError(
            f"command line: --step={arguments.step} is not in 1..{steps}, the steps of {arguments.config}"
        )
    numbers: Sequence[int] = range(batch)
    if arguments.sample is not None:
        _must_be_in("--sample", arguments.sample, batch)
        numbers = [arguments.sample]
    dataset = open_blend(config)
    tokenizer = load_tokenizer(arguments.tokenizer or Path(config.data.tokenizer), parse_special_tokens=True)
    before = (arguments.step - 1) * batch
    views = [view_run_sample(dataset, before + number, tokenizer) for number in numbers]
    return views if arguments.no_trace else traced(views, [each.source for each in dataset.datasets], tokenizer)


def _statistics(prefix: str, tokenizer: LoadedTokenizer | None, as_json: bool, console: Console) -> None:
    dataset, eod_id = IndexedDataset(prefix), None
    if has_manifest := manifest_path(prefix).exists():
        manifest = load_manifest(prefix)
        refuse_other_dataset(manifest, dataset)
        eod_id = manifest.eod_id
    if eod_id is None and tokenizer is not None:
        eod_id = tokenizer.eos_id
    with Progress(console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("reading", total=dataset.num_tokens)
        found = dataset_statistics(dataset, lambda tokens: progress.advance(task, tokens))
    if as_json:
        ends = None if eod_id is None else found.occurrences(eod_id)
        used = None if tokenizer is None else found.vocabulary_used(tokenizer.vocab_size)
        _print_json(found.to_json() | {"eod_id": eod_id, "eod_tokens": ends, "vocabulary_used": used})
        return
    print_statistics(prefix, found, eod_id, tokenizer, console)
    if not has_manifest:
        console.print(missing_manifest(prefix), highlight=False)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _must_be_in(flag: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        raise ConfigError(f"command line: {flag}={number} is not in 0..{count - 1:,}")
