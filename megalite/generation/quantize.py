"""Quantizes a Hugging Face folder to int8 or GGUF, and reports size and bits per byte before and after."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.screen import screen
from megalite.evaluation.bits_per_byte import BitsPerByte, bits_per_byte, whole_documents
from megalite.export import gguf_file
from megalite.files.json_file import check_json_output, write_json
from megalite.files.model_folder import model_folder_of
from megalite.files.place import check_place
from megalite.files.readers.input_files import expand_inputs
from megalite.generation import int8_weights
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_model

GGUF_PREFIX = "gguf-"
FORMATS = (*int8_weights.FORMATS, *(GGUF_PREFIX + kind.replace("_", "-") for kind in gguf_file.KINDS))


@dataclass(frozen=True)
class Measured:
    """One format of the model."""

    path: str
    format: str
    weight_bytes: int
    score: BitsPerByte | None
    """None without --text."""


@one_line_errors
def main() -> None:
    parser = CommandParser(description="Quantize a model and measure its bits per byte before and after.")
    parser.add_argument(
        "model", type=lambda path: Path(model_folder_of(path)), help="Hugging Face folder or run folder"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="OUT", help="folder (int8) or FILE.gguf to write; must not exist"
    )
    parser.add_argument("--format", required=True, metavar="|".join(FORMATS), help="format of the weight matrices")
    parser.add_argument("--text", nargs="+", metavar="GLOB", help="measure bits per byte on these documents")
    parser.add_argument("--text_key", default="text", metavar="KEY", help="JSON key or column of the text")
    parser.add_argument(
        "--max_documents",
        type=whole_number(),
        default=20,
        metavar="N",
        help="documents of --text to use",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    texts = _checked_texts(arguments)
    before = measure(arguments.model, "original", texts)
    wider: tuple[str, ...] = ()
    if arguments.format in int8_weights.FORMATS:
        int8_weights.write_int8(
            arguments.model, arguments.output, arguments.format, card(arguments.model, arguments.format)
        )
    else:
        wider = gguf_file.write_gguf(arguments.model, arguments.output, gguf_kind(arguments.format)).wider
    after = measure(arguments.output, arguments.format, texts)
    print_table(before, after, wider, screen())
    if arguments.json:
        write_json(arguments.json, {"before": asdict(before), "after": asdict(after), "f16_instead": list(wider)})


def _checked_texts(arguments: argparse.Namespace) -> list[str]:
    """Check all arguments. Returns the texts to measure. Raises: ConfigError, DataError, FileNotFoundError."""
    form, output = arguments.format, arguments.output
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: unknown; choose one of {', '.join(FORMATS)}")
    if not arguments.model.is_dir():
        raise FileNotFoundError(f"{arguments.model}: no such model folder")
    check_model_folder(str(arguments.model))
    if os.path.lexists(output):
        raise ConfigError(f"{output}: exists; choose another --output, or remove it")
    texts = expand_inputs(arguments.text) if arguments.text else []
    check_place(output, [arguments.model, *texts])
    if form.startswith(GGUF_PREFIX):
        if output.suffix != ".gguf":
            raise ConfigError(f"{output}: a GGUF is one file; give a name ending in .gguf")
        if not output.parent.is_dir():
            raise ConfigError(f"{output}: its folder does not exist; create it, or choose another --output")
        gguf_file.check_gguf(arguments.model, gguf_kind(form))
    else:
        int8_weights.check_int8(arguments.model)
    check_json_output(arguments.json, [arguments.model, output, *texts])
    documents = whole_documents(texts, arguments.text_key)
    return [document.text for document in islice(documents, arguments.max_documents)]


def gguf_kind(form: str) -> str:
    """``gguf-q8-0`` -> ``q8_0``."""
    return form.removeprefix(GGUF_PREFIX).replace("-", "_")


def measure(path: Path, form: str, texts: Sequence[str]) -> Measured:
    """Size of the weights, and bits per byte in fp32 on the CPU or in the stored dtype on an accelerator."""
    score = None
    if texts:
        model, tokenizer = load_model(str(path))
        score = bits_per_byte(model, tokenizer, texts)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    return Measured(str(path), form, sum(file.stat().st_size for file in files), score)


def card(folder: Path, form: str) -> str:
    """README.md of the int8 folder: the source's, with a section on quantization."""
    source = folder / "README.md"
    own = source.read_text(encoding="utf-8") if source.is_file() else f"# {folder.resolve().name}\n"
    return (
        f"{own.rstrip()}\n\n## Quantization\n\n{form}: {int8_weights.FORMATS[form]}. Embeddings, head and norms are "
        f"unchanged. Made with torchao {version('torchao')} and transformers {version('transformers')}.\n"
    )


def print_table(before: Measured, after: Measured, wider: Sequence[str], console: Console) -> None:
    """Size and bits per byte, before and after."""
    table = Table("", "weights", "bits per byte", "path", title="quantized", title_justify="left")
    for form in (before, after):
        bits = f"{form.score.bits_per_byte:.4f}" if form.score else "not measured"
        table.add_row(form.format, f"{form.weight_bytes:,} bytes", bits, form.path)
    smaller = f"{after.weight_bytes / before.weight_bytes:.1%}"
    worse = ""
    if before.score and after.score:
        worse = f"{after.score.bits_per_byte - before.score.bits_per_byte:+.5f}"
    table.add_row("after / before", smaller, worse, "")
    console.print(table)
    if wider:
        console.print(f"{len(wider)} matrices are f16: their rows are not a multiple of 32", highlight=False)
