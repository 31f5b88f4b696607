"""``state.json`` and ``manifest.json`` of a checkpoint: what it is, and whether it is whole."""

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.schema import RunConfig
from megalite.config.section import Section
from megalite.data.samples.blend import BlendedDataset
from megalite.data.samples.epochs import refuse_repetition, source_use
from megalite.data.samples.fingerprint import samples_fingerprint
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.history import Mix, mix_record, refuse_other_history
from megalite.model.hf_config import model_config_from_hf
from megalite.training.checkpoint.changes import flat
from megalite.training.checkpoint.manifest import MANIFEST, read_manifest, saved_optimizer

LAST_SAMPLES = 32
HASHED_AT_ONCE = 8 * 2**20
"""Bytes."""


@dataclass(frozen=True)
class TrainingState:
    """``state.json``: where the run stands, and what it may only be resumed with."""

    step: int
    consumed_samples: int
    seed: int
    sequence_length: int
    data: dict[str, str]
    """Training prefix -> checksum of its ``.bin``; the order of the samples is a function of these and the seed."""
    read_fingerprint: str = f"{0:010x}"
    """Of all samples read so far: equal for every layout, see ``megalite.data.samples.fingerprint``."""
    last_fingerprint: str = ""
    """Of the last ``LAST_SAMPLES`` samples read; a resumed run must find the same in their places."""
    mix: Mix = field(default_factory=list)
    """By which weights the sources are read from which sample on, see ``megalite.data.samples.history``."""


def resumed_state(folder: Path, config: RunConfig, data: dict[str, str]) -> TrainingState:
    """The state in a checkpoint, refused where the run has read other data than the config says, or is another model.

    Args:
        data: training prefix -> checksum of its ``.bin``, as the run to be resumed has them.

    Raises: ConfigError naming the fact that differs.
    """
    try:
        state = TrainingState(**json.loads((folder / "state.json").read_text()))
    except (TypeError, json.JSONDecodeError):
        raise DataError(
            f"{folder / 'state.json'}: not of this version's form; resume from another checkpoint"
        ) from None
    saved = model_config_from_hf(json.loads((folder / "hf" / "config.json").read_text()))
    for key in ("head_size", "key_value_heads", *type(saved).model_fields):
        if key not in ("head_dim", "num_key_value_heads", "initializer_range"):
            _must_equal(folder, f"model.{key}", getattr(saved, key), getattr(config.model, key))
    _must_equal(folder, "run.seed", state.seed, config.run.seed)
    _must_equal(folder, "data.sequence_length", state.sequence_length, config.data.sequence_length)
    refuse_other_history(folder, state.consumed_samples, (state.mix, state.data), (mix_record(config), data))
    if config.data.phases and state.consumed_samples != state.step * config.batch.global_batch_size:
        raise ConfigError(
            f"{folder}: has read {state.consumed_samples:,} samples in {state.step:,} steps, and batch.global_batch_size="
            f"{config.batch.global_batch_size} would move the beginnings of data.phases; keep the batch size to resume"
        )
    _must_equal(folder, "optimizer.name", saved_optimizer(folder), config.optimizer.name)
    if state.step >= config.training.steps:
        raise ConfigError(
            f"{folder}: is at step {state.step}, and training.steps={config.training.steps}: nothing is left to train; "
            f"raise training.steps to go on"
        )
    return replace(state, data=data)


def last_fingerprint(dataset: GPTDataset | BlendedDataset, consumed_samples: int) -> str:
    """Of the ``LAST_SAMPLES`` samples before ``consumed_samples``, or of all where they are fewer."""
    first = max(0, consumed_samples - LAST_SAMPLES)
    return f"{samples_fingerprint(dataset, first, consumed_samples - first):010x}"


def check_data_order(folder: Path, state: TrainingState, dataset: GPTDataset | BlendedDataset) -> None:
    """Refuse to resume where the samples just read stand in other places of the order. Raises: ConfigError."""
    found = last_fingerprint(dataset, state.consumed_samples)
    if found != state.last_fingerprint:
        raise ConfigError(
            f"{folder}: the last samples before {state.consumed_samples:,} had fingerprint {state.last_fingerprint}, this "
            f"run's have {found}; resume with the same data and the same version of megalite"
        )


def check_epochs(config: RunConfig, state: TrainingState, tokens: Mapping[str, int]) -> None:
    """Refuse to read a source too often, where the global batch is another than it was before. Raises: ConfigError."""
    batch = config.batch.global_batch_size
    samples = state.consumed_samples + (config.training.steps - state.step) * batch
    training = config.training.model_copy(update={"steps": -(-samples // batch)})
    refuse_repetition(source_use(config.model_copy(update={"training": training}), tokens))


def verify_files(folder: Path, tick: Callable[[], None] = lambda: None, rank: int = 0, ranks: int = 1) -> None:
    """Check every file against ``manifest.json``; with several ranks, this one's share of them.

    Args:
        tick: called often while a file is read.

    Raises: DataError naming the first damaged file.
    """
    items = list(read_manifest(folder).items())[rank::ranks]

    def verify(item: tuple[str, dict[str, Any]]) -> None:
        name, expected = item
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise DataError(f"{folder / MANIFEST}: '{name}' lies outside the checkpoint; it is not to be trusted")
        if not path.is_file():
            raise DataError(f"{path}: missing; the checkpoint is not whole, resume from another one")
        if describe_file(path, tick) != expected:
            raise DataError(f"{path}: differs from its checksum in {MANIFEST}; resume from another checkpoint")

    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter lock
        list(pool.map(verify, items))


def describe_file(path: Path, tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Size and digest of a file, as the manifest lists them."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(HASHED_AT_ONCE):
            digest.update(part)
            size += len(part)
            tick()
    return {"bytes": size, "sha256": digest.hexdigest()}


def _must_equal(folder: Path, key: str, saved: Any, asked: Any) -> None:
    """Raises: ConfigError naming the first single value that differs."""
    saved, asked = (dict(flat(_plain(value), key)) for value in (saved, asked))
    for name in {**saved, **asked}:
        if saved.get(name) != asked.get(name):
            raise ConfigError(
                f"{folder}: has {name}={saved.get(name)}, the config asks for {asked.get(name)}; make them equal to resume"
            )


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if isinstance(value, Section) else value
