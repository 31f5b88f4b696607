"""Check every value of a DeepSpeed JSON before a process group exists.

DeepSpeed reads some sections with pydantic models, which accept ``"true"`` for true and ``"2"`` for 2, and others with plain
look-ups, which accept anything and fail in the middle of a run, or never. Here every value must have its documented type.
``deepspeed_sections`` has models for the sections for which DeepSpeed has none.
"""

import importlib.util
import json
import typing
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from megalite.config.ds_config import AUTO
from megalite.config.errors import ConfigError
from megalite.config.explain import did_you_mean, reason_of
from megalite.config.section import shown
from megalite.training.deepspeed_sections import SECTIONS, TopLevel
from megalite.training.distributed import quiet_deepspeed

MONITORS = {"tensorboard": "tensorboard", "wandb": "wandb", "comet": "comet_ml"}
"""Section -> required package."""
MOST = 2**63 - 1
UNSUPPORTED = {
    "zero_optimization.zenflow": "ZenFlow replaces the optimizer's step, which belongs to the run",
    "zero_optimization.offload_optimizer.super_offload": "it replaces the optimizer, which belongs to the run",
}


def check_deepspeed_values(ds_config: dict[str, Any], source: str) -> None:
    """Refuse values that DeepSpeed would misread, or that make it fail.

    Args:
        ds_config: the JSON from ``read_ds_config``, which has checked the keys, and the values that the YAML owns.

    Raises: ConfigError with ``source``, the key and the accepted values.
    """
    sections = _models()
    top = {key: value for key, value in ds_config.items() if key in TopLevel.model_fields}
    _check_section(TopLevel, top, "", source)
    for name, model in sections.items():
        if name in ds_config:
            _check_section(model, ds_config[name], name, source)
    for dotted, why in UNSUPPORTED.items():
        if _at(ds_config, dotted) not in (None, False):
            raise ConfigError(f"{source}: {dotted}: {why}; remove it")
    if _at(ds_config, "zero_optimization.compute_grad_norm") is False:
        raise ConfigError(f"{source}: zero_optimization.compute_grad_norm=false: every step logs the norm; remove it")
    _check_together(ds_config, source)
    for name, package in MONITORS.items():
        if _at(ds_config, f"{name}.enabled") and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{source}: {name}.enabled=true needs the package {package}, which is not installed; install it, or set "
                f"it to false"
            )


def _models() -> dict[str, type[BaseModel]]:
    """Section -> model of its values; DeepSpeed's own if it has one."""
    quiet_deepspeed()
    from deepspeed.comm.config import CommsLoggerConfig
    from deepspeed.monitor.config import CometConfig, CSVConfig, TensorBoardConfig, WandbConfig
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    return SECTIONS | {
        "zero_optimization": DeepSpeedZeroConfig,
        "comms_logger": CommsLoggerConfig,
        "tensorboard": TensorBoardConfig,
        "csv_monitor": CSVConfig,
        "wandb": WandbConfig,
        "comet": CometConfig,
    }


def _check_section(model: type[BaseModel], values: Any, prefix: str, source: str) -> None:
    """Check every value of a section against the type and bounds of its field, without conversions."""
    from deepspeed.runtime.config_utils import DeepSpeedConfigModel

    if not isinstance(values, dict):
        raise ConfigError(f"{source}: {prefix}={shown(values)}: this is a section; write its keys and values in braces")
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in values.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if key not in fields:
            near = did_you_mean(dotted, [f"{prefix}.{name}" if prefix else name for name in fields])
            raise ConfigError(f"{source}: unknown key '{dotted}'{near}")
        field = fields[key]
        inner = _section_within(field.annotation)
        if value == AUTO and issubclass(model, DeepSpeedConfigModel):  # these models skip "auto"
            continue
        if value is None and type(None) in typing.get_args(field.annotation):
            continue
        if inner is not None:
            _check_section(inner, value, dotted, source)
            continue
        if isinstance(value, float) and value.is_integer() and field.annotation is int:
            value = int(value)  # 5e8, as in DeepSpeed's documentation
        if isinstance(value, int) and value > MOST:
            raise ConfigError(f"{source}: {dotted}={shown(value)}: must be at most {MOST:,}")
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        try:
            TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
        except ValidationError as failure:
            raise ConfigError(f"{source}: {dotted}={shown(value)}: {reason_of(failure.errors()[0])}") from None


def _section_within(annotation: Any) -> type[BaseModel] | None:
    """The model in a field's annotation, optional or not."""
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _check_together(ds_config: dict[str, Any], source: str) -> None:
    """Check values that depend on each other: DeepSpeed's own validators, and what it would only notice in a run."""
    zero = ds_config.get("zero_optimization", {})
    stage = zero.get("stage", 0)
    for name, stages in (("offload_param", (3,)), ("offload_optimizer", (1, 2, 3))):
        offload = zero.get(name) or {}
        where = f"{source}: zero_optimization.{name}"
        device = offload.get("device", "none")
        if device != "none" and stage not in stages:
            raise ConfigError(
                f"{where}.device={device} with zero_optimization.stage={stage}: it needs stage "
                f"{', '.join(map(str, stages))}; remove the section or change the stage"
            )
        if device == "nvme":
            path = offload.get("nvme_path")
            if path is None:
                raise ConfigError(f"{where}.device=nvme: '{name}.nvme_path' is missing; name a folder on a local disk")
            if not Path(path).is_dir():
                raise ConfigError(
                    f"{where}.nvme_path={path}: is not a folder on this machine; create it, or name another"
                )
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    try:
        DeepSpeedZeroConfig(**zero)
    except (ValueError, AssertionError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{source}: zero_optimization: {problem}; DeepSpeed refuses it") from None


def _at(values: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
