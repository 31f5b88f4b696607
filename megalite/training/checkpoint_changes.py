"""What a resumed run does otherwise than the run that wrote its checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalite.config.schema import RunConfig
from megalite.config.text_files import read_json_file, read_yaml_file

NOT_LEARNED = ("run.", "logging.", "hardware.", "data.prepare.")
"""Where the run lives, and what it tells."""
OF_THE_YAML = (
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"),
    *("bf16.", "fp16.", "data_types."),
)
"""Keys of the merged DeepSpeed config that follow from the YAML's."""


def changes(checkpoint: Path, config: RunConfig, ds_config: dict[str, Any]) -> list[str]:
    """One line a key: ``optimizer.lr was 0.0003 and is 0.001 now``."""
    return [
        *_told(read_yaml_file(checkpoint / "run.yaml"), config.model_dump(mode="json"), NOT_LEARNED),
        *(
            f"DeepSpeed's {line}"
            for line in _told(read_json_file(checkpoint / "ds_config.json"), ds_config, OF_THE_YAML)
        ),
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


def _told(before: Any, now: Any, left_out: tuple[str, ...]) -> list[str]:
    old, new = dict(flat(before)), dict(flat(now))
    return [
        f"{key} was {old.get(key)} and is {new.get(key)} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not key.startswith(left_out)
    ]
