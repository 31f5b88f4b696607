"""What a resumed run does otherwise than the run that wrote its checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalite.config.grid import GridShape
from megalite.config.schema import ParallelSection, RunConfig
from megalite.config.text_files import read_json_file, read_yaml_file

NOT_LEARNED = ("run.", "logging.", "hardware.", "data.prepare.")
"""Where the run lives, and what it tells."""
OF_THE_YAML = (
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"),
    *("bf16.", "fp16.", "data_types."),
)
"""Keys of the merged DeepSpeed config that follow from the YAML's."""


def changes(checkpoint: Path, config: RunConfig, ds_config: dict[str, Any]) -> list[str]:
    """One line a key: ``optimizer.lr was 0.0003 and is 0.001 now``; first of all the number of ranks."""
    yaml, now = read_yaml_file(checkpoint / "run.yaml"), config.model_dump(mode="json")
    json = read_json_file(checkpoint / "ds_config.json")
    return [
        *_told({"the number of ranks": _ranks(yaml, json)}, {"the number of ranks": _ranks(now, ds_config)}, ()),
        *_told(yaml, now, NOT_LEARNED),
        *(f"DeepSpeed's {line}" for line in _told(json, ds_config, OF_THE_YAML)),
    ]


def flat(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value under its dotted key: ``("model.rope_parameters.factor", 8.0)``."""
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list | tuple) else None
    )
    if items is None:
        yield key, values
        return
    for name, value in items:
        yield from flat(value, f"{key}.{name}" if key else str(name))


def _ranks(values: Any, ds_config: Any) -> int:
    """Of the job with this YAML and this merged DeepSpeed config, which names the data-parallel ranks by what each does."""
    batch, parallel = values["batch"], ParallelSection.model_validate(values["parallel"])
    at_once = batch["micro_batch_size"] * ds_config["gradient_accumulation_steps"]
    axes = (parallel.pipeline_parallel_size, parallel.context_parallel_size, parallel.tensor_parallel_size)
    return GridShape(axes[0], batch["global_batch_size"] // at_once, *axes[1:]).world_size


def _told(before: Any, now: Any, left_out: tuple[str, ...]) -> list[str]:
    old, new = dict(flat(before)), dict(flat(now))
    return [
        f"{key} was {old.get(key)} and is {new.get(key)} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not key.startswith(left_out)
    ]
