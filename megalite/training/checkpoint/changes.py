"""Which settings of a resumed run differ from those that its checkpoint was written with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalite.config.grid import GridShape
from megalite.config.schema import ParallelSection, RunConfig
from megalite.config.text_files import read_json_file, read_yaml_file

NOT_LEARNED = ("run.", "logging.", "hardware.", "data.prepare.")
"""Keys that do not affect what is learned."""
OF_THE_YAML = (
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"),
    *("bf16.", "fp16.", "data_types."),
)
"""Keys of the merged DeepSpeed config that are derived from the YAML."""


def changes(checkpoint: Path, config: RunConfig, ds_config: dict[str, Any]) -> list[str]:
    """One line per key: ``optimizer.lr was 0.0003 and is now 0.001``. The number of ranks comes first."""
    yaml, now = read_yaml_file(checkpoint / "run.yaml"), config.model_dump(mode="json")
    json = read_json_file(checkpoint / "ds_config.json")
    return [
        *_differences({"the number of ranks": _ranks(yaml, json)}, {"the number of ranks": _ranks(now, ds_config)}, ()),
        *_differences(yaml, now, NOT_LEARNED),
        *(f"DeepSpeed's {line}" for line in _differences(json, ds_config, OF_THE_YAML)),
    ]


def flat(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar with its dotted key: ``("model.rope_parameters.factor", 8.0)``."""
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list | tuple) else None
    )
    if items is None:
        yield key, values
        return
    for name, value in items:
        yield from flat(value, f"{key}.{name}" if key else str(name))


def _ranks(values: Any, ds_config: Any) -> int:
    """World size of the job; the number of data-parallel ranks follows from the accumulation steps in the merged config."""
    batch, parallel = values["batch"], ParallelSection.model_validate(values["parallel"])
    per_data_rank = batch["micro_batch_size"] * ds_config["gradient_accumulation_steps"]
    axes = (parallel.pipeline_parallel_size, parallel.context_parallel_size, parallel.tensor_parallel_size)
    return GridShape(axes[0], batch["global_batch_size"] // per_data_rank, *axes[1:]).world_size


def _differences(before: Any, now: Any, ignored: tuple[str, ...]) -> list[str]:
    old, new = dict(flat(before)), dict(flat(now))
    return [
        f"{key} was {old.get(key)} and is now {new.get(key)}"
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not key.startswith(ignored)
    ]
