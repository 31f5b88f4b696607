"""Train a tokenizer on a sample of the mix, and write a folder for ``AutoTokenizer`` with a design report."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from megalite.config.command_line import CommandParser
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.model import ModelConfig
from megalite.config.screen import screen
from megalite.files.own_folder import remove_ours
from megalite.files.readers.malformed import add_max_malformed
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.work_folder import work_folder, work_folder_of
from megalite.tokenizer.formats.byte_level import SPLITS
from megalite.tokenizer.learn.design import ALGORITHMS, TRAINERS, Design, read_chat_template
from megalite.tokenizer.learn.folder import WRITTEN, check_written, write_tokenizer
from megalite.tokenizer.learn.vocabulary import Made, learn_vocabularies
from megalite.tokenizer.report.embedding import embedding_shares, model_shapes
from megalite.tokenizer.report.measure import design_report, measure, print_report, round_trip
from megalite.tokenizer.report.page import write_page
from megalite.tokenizer.sample.mix import Source, sources_of, sources_of_mix
from megalite.tokenizer.sample.sampling import Sample, Sampling, print_sample, take_sample
from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, CHAT_TOKENS, END_OF_TEXT, PAD, UNKNOWN, SpecialTokens


@one_line_errors
def main() -> None:
    """``megalite train-tokenizer``."""
    a = _parser().parse_args()
    if (a.mix is None) == (a.input is None):
        raise ConfigError("--input, --mix: give one of the two")
    if a.mix is not None and a.weights is not None:
        raise ConfigError("--weights: the mix file has the weights; leave it out with --mix")
    others = a.special_tokens if a.special_tokens is not None else () if a.chat_template else CHAT_TOKENS
    design = Design(
        vocab_size=a.vocab_size,
        model=a.model,
        digits=a.digits,
        special=SpecialTokens(a.pad_token, a.bos_token, a.eos_token, a.unk_token, tuple(others)),
        reserved=a.reserved,
        pad_to_multiple=a.pad_to_multiple,
        chat_template=read_chat_template(a.chat_template) if a.chat_template else CHAT_TEMPLATE,
        trainer=a.trainer,
    ).check()
    sampling = Sampling(a.sample_bytes, a.document_characters, a.text_key, a.max_malformed)
    options = ReportOptions(tuple(a.sweep), model_shapes(a.hidden_size, a.config), a.check_corpus)
    sources = sources_of_mix(a.mix) if a.mix is not None else sources_of(a.input, a.weights)
    train_tokenizer(sources, a.output, design, screen(), sampling, options, a.overwrite)


@dataclass(frozen=True)
class ReportOptions:
    """The parts of the design report that take extra work."""

    sweep: Sequence[int] = ()
    """Other vocabulary sizes to compare with."""
    shapes: Sequence[tuple[str, ModelConfig]] | None = None
    """Models whose share of parameters in the embedding is reported; None is a few usual sizes."""
    check_corpus: bool = False
    """Whether to encode and decode every document, not only the held-out ones."""


def train_tokenizer(
    inputs: Sequence[str] | Sequence[Source],
    output: Path,
    design: Design | int,
    console: Console,
    sampling: Sampling | None = None,
    options: ReportOptions | None = None,
    overwrite: bool = False,
) -> None:
    """Train a tokenizer and write the folder ``output`` in one atomic step.

    Args:
        inputs: globs, whose files are sampled in proportion to their text, or sources with weights.
        design: the vocabulary to train; a number is the size of a byte-level BPE.

    Raises: FileNotFoundError; ConfigError if the design is impossible; DataError if the output exists or the text is too
        short for the vocabulary size.
    """
    design = (Design(design) if isinstance(design, int) else design).check()
    options = options or ReportOptions()
    others = [replace(design, vocab_size=size).check() for size in sorted(set(options.sweep))]
    sampling = sampling or Sampling()
    sampling.check()
    shapes = model_shapes(None, None) if options.shapes is None else options.shapes
    sources = [each for each in inputs if isinstance(each, Source)] or sources_of([str(each) for each in inputs], None)
    check_output(output, WRITTEN, overwrite, [path for source in sources for path in source.paths])
    special = design.special_in_order()
    with _scratch(output) as folder:
        sample = take_sample(sources, sampling, folder, console)
        print_sample(sample, sampling, console)
        with console.status(f"training {design.total:,} ids"):
            made = learn_vocabularies(sample, [design, *others])
        tokenizer, model, trainer = made[0]
        with console.status("report"):
            report = {
                "model": design.model,
                "digits": design.digits_rule,
                "trainer": trainer,
                "sample": [asdict(source) for source in sample.sources],
                **design_report(tokenizer, measure(tokenizer, sample.report, special), special),
                "embedding": embedding_shares(shapes, design.total),
                "sweep": [_size(*pair, sample, shapes) for pair in zip(others, made[1:], strict=True)],
            }
            if options.check_corpus:
                report["corpus_round_trip"] = round_trip(tokenizer, sources, sampling.text_key)
        with whole_folder(output) as partial:
            write_tokenizer(tokenizer, partial, design.special, design.chat_template)
            if model is not None:
                (partial / "tokenizer.model").write_bytes(model)
            report["tokenizer_check"] = check_written(partial, tokenizer, sample.report)
            text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
            (partial / "design_report.json").write_text(text, encoding="utf-8")
            write_page(partial / "design_report.html", report)
    print_report(report, console, str(output))


def _size(design: Design, made: Made, sample: Sample, shapes: Sequence[tuple[str, ModelConfig]]) -> dict[str, Any]:
    total = measure(made[0], sample.report, ()).total.to_json()
    rates = {"bytes_per_token": total["bytes_per_token"], "tokens_per_word": total["tokens_per_word"]}
    return {"vocab_size": design.total, **rates, "embedding": embedding_shares(shapes, design.total)}


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """A work folder for the sample beside the output; it is removed afterwards, also after an error."""
    with work_folder(work_folder_of(output), "sample") as folder:
        try:
            yield folder
        except BaseException:
            remove_ours(folder)
            raise


def _parser() -> CommandParser:
    parser = CommandParser(description="Train a tokenizer and write a report on its vocabulary.")
    text = parser.add_argument_group("text")
    text.add_argument("--input", nargs="+", metavar="GLOB", help=".jsonl, .txt, .warc, .html (.gz, .zst), .parquet")
    text.add_argument("--weights", nargs="+", type=float, metavar="W", help="share of the bytes of each --input")
    text.add_argument(
        "--mix", type=Path, metavar="YAML", help="YAML with names, files and weights of the sources, instead of --input"
    )
    text.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    add_max_malformed(text)
    text.add_argument(
        "--sample_bytes", "--max_bytes", type=int, default=Sampling.sample_bytes, help="maximum text to train on"
    )
    text.add_argument(
        "--document_characters", type=int, default=Sampling.document_characters, help="cut longer documents"
    )
    wanted = parser.add_argument_group("vocabulary")
    wanted.add_argument("--output", type=Path, required=True, metavar="DIR", help="tokenizer folder to write")
    wanted.add_argument("--overwrite", action="store_true", help="replace an existing output")
    wanted.add_argument("--model", choices=ALGORITHMS, default="bpe", help="byte-level BPE, or a sentencepiece model")
    wanted.add_argument("--vocab_size", type=int, required=True, help="number of tokens, including special tokens")
    wanted.add_argument(
        "--pad_to_multiple", type=int, default=1, metavar="M", help="round the size up to a multiple of M"
    )
    wanted.add_argument("--digits", choices=tuple(SPLITS), help="default: triple for bpe, single for sentencepiece")
    wanted.add_argument("--trainer", choices=TRAINERS, default="auto", help="library for bpe; all give the same tokens")
    special = parser.add_argument_group("special tokens")
    special.add_argument("--pad_token", default=PAD, help="padding token")
    special.add_argument("--bos_token", default=END_OF_TEXT, help="beginning-of-text token")
    special.add_argument("--eos_token", default=END_OF_TEXT, help="end-of-text token")
    special.add_argument("--unk_token", help=f"default: none for bpe, {UNKNOWN} for sentencepiece")
    special.add_argument(
        "--special_tokens", nargs="*", metavar="[NAME=]TOKEN", help="others; default: those of the chat template"
    )
    special.add_argument("--reserved", type=int, default=Design.reserved, help="special tokens reserved for later use")
    special.add_argument(
        "--chat_template", type=Path, metavar="FILE", help="Jinja file of the chat template; default: ChatML"
    )
    report = parser.add_argument_group("report")
    report.add_argument(
        "--sweep", nargs="+", type=int, default=[], metavar="N", help="also report on these vocabulary sizes"
    )
    report.add_argument(
        "--hidden_size", nargs="+", type=int, metavar="H", help="also report the embedding's share for these widths"
    )
    report.add_argument("--config", type=Path, metavar="YAML", help="report it for the model of this YAML")
    report.add_argument("--check_corpus", action="store_true", help="encode and decode every document of the inputs")
    return parser
