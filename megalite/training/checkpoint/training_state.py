"""``state.json`` of a checkpoint: the position of the run, and what a resumed run must match."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.schema import RunConfig
from megalite.config.section import Section
from megalite.config.text_files import read_json_object
from megalite.data.samples.blend import BlendedDataset
from megalite.data.samples.epochs import refuse_repetition, source_use
from megalite.data.samples.fingerprint import samples_fingerprint
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.history import Mix, mix_record, refuse_other_history
from megalite.model.hf_config import model_config_from_hf
from megalite.training.checkpoint.changes import flat
from megalite.training.checkpoint.manifest import saved_optimizer

LAST_SAMPLES = 32


@dataclass(frozen=True)
class TrainingState:
    """The position of the run, and the facts that a resumed run must share."""

    step: int
    consumed_samples: int
    seed: int
    sequence_length: int
    data: dict[str, str]
    """Training prefix -> checksum of its ``.bin``. The order of the samples depends on these and the seed."""
    read_fingerprint: str = f"{0:010x}"
    """Of all samples read so far; the same for every layout, see ``megalite.data.samples.fingerprint``."""
    last_fingerprint: str = ""
    """Of the last ``LAST_SAMPLES`` samples read; a resumed run must find the same samples in the same places."""
    mix: Mix = field(default_factory=list)
    """The weights of the sources, and the sample from which they apply, see ``megalite.data.samples.history``."""


def resumed_state(folder: Path, config: RunConfig, data: dict[str, str]) -> TrainingState:
    """The state in a checkpoint.

    Args:
        data: training prefix -> checksum of its ``.bin``, now.

    Raises: ConfigError naming the fact that differs: another model, other data, another optimizer.
    """
    try:
        state = TrainingState(**read_json_object(folder / "state.json"))
    except (TypeError, ConfigError):
        raise DataError(
            f"{folder / 'state.json'}: was written by another version; resume from another checkpoint"
        ) from None
    saved = model_config_from_hf(read_json_object(folder / "hf" / "config.json"))
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
            f"raise training.steps to continue"
        )
    return replace(state, data=data)


def last_fingerprint(dataset: GPTDataset | BlendedDataset, consumed_samples: int) -> str:
    """Fingerprint of the ``LAST_SAMPLES`` samples before ``consumed_samples``, or of all if there are fewer."""
    first = max(0, consumed_samples - LAST_SAMPLES)
    return f"{samples_fingerprint(dataset, first, consumed_samples - first):010x}"


def check_data_order(folder: Path, state: TrainingState, dataset: GPTDataset | BlendedDataset) -> None:
    """Check that the last samples read are still in the same places of the order. Raises: ConfigError."""
    found = last_fingerprint(dataset, state.consumed_samples)
    if found != state.last_fingerprint:
        raise ConfigError(
            f"{folder}: the last samples before {state.consumed_samples:,} had fingerprint {state.last_fingerprint}, this "
            f"run's have {found}; resume with the same data and the same version of megalite"
        )


def check_epochs(config: RunConfig, state: TrainingState, tokens: Mapping[str, int]) -> None:
    """Check the epochs of every source with a global batch size that may have changed. Raises: ConfigError."""
    batch = config.batch.global_batch_size
    samples = state.consumed_samples + (config.training.steps - state.step) * batch
    training = config.training.model_copy(update={"steps": -(-samples // batch)})
    refuse_repetition(source_use(config.model_copy(update={"training": training}), tokens))


def _must_equal(folder: Path, key: str, saved: Any, asked: Any) -> None:
    """Raises: ConfigError naming the first single value that differs."""
    saved, asked = (dict(flat(_plain(value), key)) for value in (saved, asked))
    for name in {**saved, **asked}:
        if saved.get(name) != asked.get(name):
            raise ConfigError(
                f"{folder}: has {name}={saved.get(name)}, the config has {asked.get(name)}; make them equal to resume"
            )


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if isinstance(value, Section) else value
