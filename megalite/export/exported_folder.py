"""Writing a Hugging Face folder from a checkpoint, whole or not at all, with one piece of a tensor in memory."""

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
    """What was written."""

    folder: Path
    dtype: str
    parameters: int
    bytes: int
    shards: int
    error: LogitError | None
    """None where it was not measured."""


def export_checkpoint(
    folder: Path,
    output: Path,
    dtype: str = "bf16",
    max_shard_bytes: int = 2 * 10**9,
    license_name: str | None = None,
    measures: bool = True,
    verifies: bool = True,
    console: Console | None = None,
) -> Exported:
    """Write ``output``: weights cast to ``dtype`` from their most precise copy, config, tokenizer, model card.

    Memory, beyond what the libraries take: a piece of a tensor while writing, one tensor in fp32 and 256 rows of logits
    while measuring. Nothing is at ``output`` until all of it is.

    Args:
        folder: ``runs/NAME/step-NNNNNN``.
        max_shard_bytes: one larger tensor is a file of its own.

    Raises: ConfigError, DataError, FileNotFoundError.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype {dtype}: unknown; choose one of {', '.join(DTYPES)}")
    _check_output(folder, output)
    console = console or Console(quiet=True)
    check_checkpoint_folder(folder)
    if verifies:
        with console.status("comparing the checkpoint with its checksums"):
            verify_files(folder)
    checkpoint = open_checkpoint(folder)
    total = sum(shape.numel() for shape in checkpoint.tensors.shapes.values()) * DTYPES[dtype].itemsize
    _check_space(output, total)
    error = None
    with whole_folder(output) as partial, _progress(console) as progress:
        shards = _write_weights(checkpoint, partial, dtype, max_shard_bytes, total, progress)
        _write_descriptions(checkpoint, partial, dtype)
        check_exported(partial)
        if measures:
            valid, length = checkpoint.run["data"].get("valid"), checkpoint.state["sequence_length"]
            ids, text = tokens_to_measure(valid, length, checkpoint.model.vocab_size)
            error = measure_logit_error(checkpoint.tensors, partial, DTYPES[dtype], ids, text, progress)
        (partial / "README.md").write_text(model_card(checkpoint, dtype, error, license_name), encoding="utf-8")
        _check_output(folder, output)  # nothing that appeared there in the meantime is replaced
    return Exported(output, dtype, total // DTYPES[dtype].itemsize, total, shards, error)


def _check_output(folder: Path, output: Path) -> None:
    if os.path.lexists(output):
        raise ConfigError(f"{output}: exists; choose another --output, or remove it")
    check_place(output, [folder])


def _check_space(output: Path, needed: int) -> None:
    there = next(parent for parent in output.resolve().parents if parent.exists())
    if (free := shutil.disk_usage(there).free) < needed + SMALL_FILES_BYTES:
        raise ConfigError(f"{output}: the weights need {needed:,} bytes, {free:,} are free on this disk; make room")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def _write_weights(
    checkpoint: Checkpoint, partial: Path, dtype: str, max_shard_bytes: int, total: int, progress: Progress
) -> int:
    """Write the shards and their index; returns the number of shards."""
    kind, shapes = DTYPES[dtype], checkpoint.tensors.shapes
    task = progress.add_task("writing", total=total)

    def pieces(name: str) -> Iterator[Tensor]:
        for piece in cast_pieces(name, shapes[name], checkpoint.tensors.rows, kind):
            yield piece
            progress.advance(task, piece.nbytes)

    shards = plan_shards(((name, shape.numel() * kind.itemsize) for name, shape in shapes.items()), max_shard_bytes)
    for index, names in enumerate(shards):
        path = partial / shard_name("model", index, len(shards))
        write_tensor_file(path, {name: shapes[name] for name in names}, kind, pieces)
    write_index(partial, "model", shards, total)
    return len(shards)


def _write_descriptions(checkpoint: Checkpoint, partial: Path, dtype: str) -> None:
    """``config.json`` with the new dtype; the other descriptions as they stand in the checkpoint, and no other file."""
    for path in known_files(checkpoint.folder / "hf", DESCRIPTIONS):
        shutil.copyfile(path, partial / path.name)
    config = checkpoint.hf_config | {"dtype": str(DTYPES[dtype]).removeprefix("torch.")}
    (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
