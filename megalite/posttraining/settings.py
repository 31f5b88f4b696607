"""Read, merge and check the two config files of a post-training run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from megalite.config.checks import accumulation_steps, check_learning
from megalite.config.ds_config import DeepSpeedFacts, merge_facts, read_ds_config, zero_stage
from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.launch import read_launch
from megalite.config.load import apply_overrides, read_yaml
from megalite.config.paths import find_input
from megalite.config.precision import with_precision
from megalite.config.run_arguments import parse_run_arguments
from megalite.posttraining.schema import TuningRun

R = TypeVar("R", bound=TuningRun)


@dataclass(frozen=True)
class Settings(Generic[R]):
    """The config files and options of a command."""

    config: R
    yaml_path: str
    ds_config: dict[str, Any] | None
    """The DeepSpeed JSON as read; None is plain data parallelism without DeepSpeed."""
    json_path: str
    resume: str | None
    check: bool
    world_size: int
    precision_sentence: str = ""
    """Prints which precision ``auto`` became, or that the precision is slow on this machine."""

    @property
    def accumulation_steps(self) -> int:
        """Micro batches of one rank in an optimizer step."""
        batch = self.config.batch
        return accumulation_steps(batch.micro_batch_size, batch.global_batch_size, self.world_size)


def read_settings(schema: type[R], description: str, arguments: Sequence[str] | None = None) -> Settings[R]:
    """Parse the command line, and read and check both files.

    Raises: ConfigError, FileNotFoundError.
    """
    given = parse_run_arguments(description, "optimizer.lr=1e-5 training.epochs=2", True, arguments)
    assert given.config is not None
    yaml_path = Path(find_input(str(given.config), given.config))
    json_path = None if given.ds_config is None else Path(find_input(str(given.ds_config), given.ds_config))
    launch = read_launch()
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1"):
        raise ConfigError(
            "accelerate launch has DeepSpeed settings of its own; leave out --use_deepspeed and name the JSON with "
            "--ds_config, so that it is checked against the YAML"
        )
    values = read_yaml(yaml_path)
    config = validate(schema, values, str(yaml_path), apply_overrides(values, given.overrides))
    check_learning(config.optimizer, config.schedule, config.training.steps, str(yaml_path))
    config = _with_found_paths(config, yaml_path)
    from megalite.training.precision import choose_precision

    before = config.folder / "run.yaml" if given.resume is not None else None
    choice = choose_precision(config.training.precision, before)
    settings = Settings(
        with_precision(config, choice.precision),
        str(yaml_path),
        None if json_path is None else read_ds_config(json_path),
        str(json_path),
        given.resume,
        given.check,
        launch.world_size,
        choice.message,
    )
    _ = settings.accumulation_steps  # raises if the batch does not divide
    return settings


def deepspeed_dict(settings: Settings[Any], hidden_size: int) -> dict[str, Any] | None:
    """The complete DeepSpeed config for transformers, or None without ``--ds_config``.

    Raises: ConfigError that names both places if the files contradict each other.
    """
    if settings.ds_config is None:
        return None
    from megalite.training.deepspeed_values import check_deepspeed_values

    config, json_path = settings.config, settings.json_path
    check_deepspeed_values(settings.ds_config, json_path)
    facts = DeepSpeedFacts(config.batch, config.optimizer, config.training.precision, hidden_size, settings.world_size)
    merged = merge_facts(facts, settings.ds_config, settings.yaml_path, json_path)
    if zero_stage(merged) == 0:
        raise ConfigError(
            f"{json_path}: zero_optimization.stage=0 is plain data parallelism, which works without DeepSpeed: leave out "
            f"--ds_config, or use stage 1, 2 or 3"
        )
    if zero_stage(merged) == 3:
        zero = merged["zero_optimization"]
        if zero.setdefault("stage3_gather_16bit_weights_on_model_save", True) is not True:
            raise ConfigError(
                f"{json_path}: zero_optimization.stage3_gather_16bit_weights_on_model_save=false: the run could not "
                f"write its Hugging Face folder; remove the key"
            )
    return merged


def _with_found_paths(config: R, yaml_path: Path) -> R:
    """The config with its input paths resolved by ``megalite.config.paths``; hub names are kept."""
    data = config.data

    def found(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if paths is None else tuple(find_input(path, yaml_path) for path in paths)

    template = data.chat_template and find_input(data.chat_template, yaml_path)
    rows = {"train": found(data.train), "valid": found(data.valid), "chat_template": template}
    model = {"path": find_input(config.model.path, yaml_path)}
    return config.model_copy(
        update={"data": data.model_copy(update=rows), "model": config.model.model_copy(update=model)}
    )
