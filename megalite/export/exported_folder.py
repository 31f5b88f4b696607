"""Export a checkpoint as a Hugging Face folder in one atomic step, with one piece of a tensor in memory."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from megalite.config.errors import ConfigError
from megalite.export.checkpoint_source import Checkpoint, check_checkpoint_folder, open_checkpoint
from megalite.export.logit_error import LogitError, measure_logit_error, tokens_to_measure
from megalite.export.model_card import model_card
from megalite.export.tensor_stream import DTYPES, cast_pieces, write_tensor_file
from megalite.files.model_folder import DESCRIPTIONS, known_files
from megalite.files.place import check_place
from megalite.files.whole_folder import whole_folder
from megalite.tokenizer.export import check_exported
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.checkpoint.tensor_files import plan_shards, shard_name, write_index

SMALL_FILES_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    folder: Path
    dtype: str
    parameters: int
    bytes: int
    shards: int
    error: LogitError | None
    """None if it was not measured."""


@dataclass(frozen=True)
class ExportOptions:
    """How to export."""

    dtype: str = "bf16"
    """Precision of the weights: fp32, bf16 or fp16."""
    max_shard_bytes: int = 2 * 10**9
    """Maximum size of a file; a larger tensor gets a file of its own."""
    license_name: str | None = None
    """License for the model card, named as on the hub."""
    measures: bool = True
    """Whether to measure the logit error."""
    verifies: bool = True
    """Whether to verify the checkpoint's checksums first."""


def export_checkpoint(
    folder: Path,
    output: Path,
    options: ExportOptions = ExportOptions(),
    console: Console | None = None,
) -> Exported:
    """Write weights, config, tokenizer and model card into ``output``, which appears only when it is complete.

    The weights are cast from their most precise copy. Memory use, in addition to that of the libraries, is a piece of a
    tensor while writing, and one tensor in fp32 with 256 rows of logits while measuring.

    Args:
        folder: ``runs/NAME/step-NNNNNN``.

    Raises: ConfigError, DataError, FileNotFoundError.
    """
    dtype = options.dtype
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype {dtype}: unknown; choose one of {', '.join(DTYPES)}")
    _check_output(folder, output)
    console = console or Console(quiet=True)
    check_checkpoint_folder(folder)
    if options.verifies:
        with console.status("verifying checksums"):
            verify_files(folder)
    checkpoint = open_checkpoint(folder)
    total = sum(shape.numel() for shape in checkpoint.tensors.shapes.values()) * DTYPES[dtype].itemsize
    _check_space(output, total)
    error = None
    with whole_folder(output) as partial, _progress(console) as progress:
        shards = _write_weights(checkpoint, partial, options, total, progress)
        _write_descriptions(checkpoint, partial, dtype)
        check_exported(partial)
        if options.measures:
            valid, length = checkpoint.run["data"].get("valid"), checkpoint.state["sequence_length"]
            ids, text = tokens_to_measure(valid, length, checkpoint.model.vocab_size)
            error = measure_logit_error(checkpoint.tensors, partial, DTYPES[dtype], ids, text, progress)
        (partial / "README.md").write_text(model_card(checkpoint, dtype, error, options.license_name), encoding="utf-8")
        _check_output(folder, output)  # it may have appeared in the meantime
    return Exported(output, dtype, total // DTYPES[dtype].itemsize, total, shards, error)


def _check_output(folder: Path, output: Path) -> None:
    if os.path.lexists(output):
        raise ConfigError(f"{output}: exists; choose another --output, or remove it")
    check_place(output, [folder])


def _check_space(output: Path, needed: int) -> None:
    there = next(parent for parent in output.resolve().parents if parent.exists())
    if (free := shutil.disk_usage(there).free) < needed + SMALL_FILES_BYTES:
        raise ConfigError(f"{output}: the weights need {needed:,} bytes, but {free:,} are free on this disk; make room")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def _write_weights(
    checkpoint: Checkpoint, partial: Path, options: ExportOptions, total: int, progress: Progress
) -> int:
    """Write the shards and their index; returns the number of shards."""
    kind, shapes = DTYPES[options.dtype], checkpoint.tensors.shapes
    task = progress.add_task("writing", total=total)

    def pieces(name: str) -> Iterator[Tensor]:
        for piece in cast_pieces(name, shapes[name], checkpoint.tensors.rows, kind):
            yield piece
            progress.advance(task, piece.nbytes)

    shards = plan_shards(
        ((name, shape.numel() * kind.itemsize) for name, shape in shapes.items()), options.max_shard_bytes
    )
    for index, names in enumerate(shards):
        path = partial / shard_name("model", index, len(shards))
        write_tensor_file(path, {name: shapes[name] for name in names}, kind, pieces)
    write_index(partial, "model", shards, total)
    return len(shards)


def _write_descriptions(checkpoint: Checkpoint, partial: Path, dtype: str) -> None:
    """Write ``config.json`` with the new dtype, and copy the other description files of the checkpoint."""
    for path in known_files(checkpoint.folder / "hf", DESCRIPTIONS):
        shutil.copyfile(path, partial / path.name)
    config = checkpoint.hf_config | {"dtype": str(DTYPES[dtype]).removeprefix("torch.")}
    (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
