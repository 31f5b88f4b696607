"""``megalite export-hf``: export a checkpoint as a Hugging Face folder."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from megalite.config.command_line import CommandParser
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.screen import screen

if TYPE_CHECKING:
    from megalite.export.exported_folder import Exported

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
DEFAULT_SHARD = "2GB"


@one_line_errors
def main() -> None:
    """``megalite export-hf``."""
    parser = CommandParser(
        description="Export a checkpoint as a Hugging Face folder. Runs in one process on the CPU and streams the tensors."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint folder, runs/NAME/step-NNNNNN")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write; must not exist")
    parser.add_argument("--dtype", default="bf16", help="precision of the weights: fp32, bf16 or fp16 (default: bf16)")
    parser.add_argument(
        "--max_shard_size",
        default=DEFAULT_SHARD,
        metavar="SIZE",
        help=f"maximum size of one weight file, such as 500MB or 4GiB (default: {DEFAULT_SHARD})",
    )
    parser.add_argument("--license", metavar="NAME", help="license for the model card: apache-2.0, mit, ...")
    parser.add_argument("--no_measure", action="store_true", help="skip measuring the logit error")
    parser.add_argument("--no_verify", action="store_true", help="skip comparing the checkpoint with its checksums")
    arguments = parser.parse_args()
    max_shard_bytes = size_in_bytes(arguments.max_shard_size)

    from megalite.export.exported_folder import (  # imports torch, which --help does not need
        ExportOptions,
        export_checkpoint,
    )

    began = time.perf_counter()
    console = screen()
    options = ExportOptions(
        arguments.dtype,
        max_shard_bytes,
        arguments.license,
        measures=not arguments.no_measure,
        verifies=not arguments.no_verify,
    )
    exported = export_checkpoint(arguments.checkpoint, arguments.output, options, console)
    print_summary(exported, time.perf_counter() - began, console)


def size_in_bytes(text: str) -> int:
    """The number of bytes of ``2GB``, ``500MB``, ``4GiB`` or a plain number. Raises: ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]I?B)?", text.strip().upper())
    if match is None or (size := int(float(match[1]) * UNITS.get(match[2], 1))) < 1:
        raise ConfigError(f"--max_shard_size {text}: not a size; give for example 2GB, 500MB or 4GiB")
    return size


def print_summary(exported: "Exported", seconds: float, console: Console) -> None:
    """Print a summary table of an export."""
    table = Table(title="export finished", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("parameters", f"{exported.parameters:,} in {exported.dtype}")
    table.add_row("weights", f"{exported.bytes:,} bytes in {exported.shards} file(s)")
    if exported.error is None:
        table.add_row("logit error", "not measured")
    else:
        weights, arithmetic = exported.error.of_weights, exported.error.of_arithmetic
        table.add_row("logit error", f"largest {weights.largest:.3g}, mean {weights.mean:.3g} (computed in fp32)")
        if exported.dtype != "fp32":
            table.add_row(
                "", f"largest {arithmetic.largest:.3g}, mean {arithmetic.mean:.3g} (computed in {exported.dtype})"
            )
        table.add_row("measured on", exported.error.text.replace("`", ""))
    table.add_row("seconds", f"{seconds:.1f}")
    table.add_row("folder", f"{exported.folder}  (load it with AutoModelForCausalLM.from_pretrained)")
    console.print(table)
