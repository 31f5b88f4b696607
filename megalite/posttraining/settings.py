"""The two config files of a post-training run, read, merged and checked against the launcher."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, cast

from megalite.config.checks import accumulation_steps, check_learning
from megalite.config.ds_config import merge_ds_config, read_ds_config, zero_stage
from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.grid import grid_shape
from megalite.config.launch import read_launch
from megalite.config.load import apply_overrides, read_yaml
from megalite.config.paths import find_input
from megalite.config.precision import with_precision
from megalite.config.run_arguments import parse_run_arguments
from megalite.config.schema import ParallelSection, RunConfig
from megalite.posttraining.run.folder import tuning_folder
from megalite.posttraining.schema import TuningRun

R = TypeVar("R", bound=TuningRun)


@dataclass(frozen=True)
class Settings(Generic[R]):
    """What a command was asked for."""

    config: R
    yaml_path: str
    ds_config: dict[str, Any] | None
    """As read from the JSON; None is plain data parallelism without DeepSpeed."""
    json_path: str
    resume: str | None
    check: bool
    world_size: int
    precision_sentence: str = ""
    """What ``training.precision: auto`` became, or that it is slow here."""

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches of one rank in an optimizer step."""
        batch = self.config.batch
        return accumulation_steps(batch.micro_batch_size, batch.global_batch_size, self.world_size)


def read_settings(schema: type[R], description: str, arguments: Sequence[str] | None = None) -> Settings[R]:
    """Parse the command line and read both files.

    Raises: ConfigError, FileNotFoundError.
    """
    given = parse_run_arguments(description, "optimizer.lr=1e-5 training.epochs=2", True, arguments)
    assert given.config is not None
    yaml_path = Path(find_input(str(given.config), given.config))
    json_path = None if given.ds_config is None else Path(find_input(str(given.ds_config), given.ds_config))
    launch = read_launch()
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1"):
        raise ConfigError(
            "accelerate launch was given DeepSpeed settings of its own; leave --use_deepspeed out and name the JSON with "
            "--ds_config, so that it is checked against the YAML"
        )
    values = read_yaml(yaml_path)
    config = validate(schema, values, str(yaml_path), apply_overrides(values, given.overrides))
    check_learning(config.optimizer, config.schedule, config.training.steps, str(yaml_path))
    config = _found(config, yaml_path)
    from megalite.training.precision import choose_precision

    before = tuning_folder(config) / "run.yaml" if given.resume is not None else None
    choice = choose_precision(config.training.precision, before)
    settings = Settings(
        with_precision(config, choice.precision),
        str(yaml_path),
        None if json_path is None else read_ds_config(json_path),
        str(json_path),
        given.resume,
        given.check,
        launch.world_size,
        choice.sentence,
    )
    _ = settings.accumulation_steps  # refuses a batch that does not divide
    return settings


def deepspeed_dict(settings: Settings[Any], hidden_size: int) -> dict[str, Any] | None:
    """What transformers' ``deepspeed=`` gets: the JSON merged with the run's facts, as in pretraining.

    Raises: ConfigError naming both places where they disagree.
    """
    if settings.ds_config is None:
        return None
    config, json_path = settings.config, settings.json_path
    from megalite.training.deepspeed_values import check_deepspeed_values

    check_deepspeed_values(settings.ds_config, json_path)
    stage = zero_stage(settings.ds_config)
    # The merge reads five sections of a run. Four of ours have the same names and keys; the mesh has a data axis only.
    parallel = ParallelSection()
    facts = SimpleNamespace(
        batch=config.batch,
        optimizer=config.optimizer,
        training=config.training,
        model=SimpleNamespace(hidden_size=hidden_size),
        parallel=parallel,
    )
    shape = grid_shape(settings.world_size, parallel)
    merged = merge_ds_config(cast(RunConfig, facts), settings.ds_config, shape, settings.yaml_path, json_path)
    if stage == 0:
        raise ConfigError(
            f"{json_path}: zero_optimization.stage=0 is plain data parallelism, which needs no DeepSpeed here: leave "
            f"--ds_config out, or take stage 1, 2 or 3"
        )
    if stage == 3:
        zero = merged["zero_optimization"]
        if zero.setdefault("stage3_gather_16bit_weights_on_model_save", True) is not True:
            raise ConfigError(
                f"{json_path}: zero_optimization.stage3_gather_16bit_weights_on_model_save=false: the run could not "
                f"write its Hugging Face folder; remove the key"
            )
    return merged


def _found(config: R, yaml_path: Path) -> R:
    """The run with the paths of what it reads as ``megalite.config.paths`` finds them; names of the hub stay."""
    data = config.data

    def each(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if paths is None else tuple(find_input(path, yaml_path) for path in paths)

    template = data.chat_template and find_input(data.chat_template, yaml_path)
    rows = {"train": each(data.train), "valid": each(data.valid), "chat_template": template}
    model = {"path": find_input(config.model.path, yaml_path)}
    return config.model_copy(
        update={"data": data.model_copy(update=rows), "model": config.model.model_copy(update=model)}
    )
