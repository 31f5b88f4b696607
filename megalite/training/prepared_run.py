"""A run whose config, data and starting point have been checked, before any process group exists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalite.config.schema import RunConfig
from megalite.data.training_data import TrainingData
from megalite.training.checkpoint.training_state import TrainingState


@dataclass(frozen=True)
class PreparedRun:
    """What the ranks need to train."""

    config: RunConfig
    ds_config: dict[str, Any]
    """The merged one."""
    folder: Path
    """``output_dir/name``."""
    data: TrainingData
    start: TrainingState
    checkpoint: Path | None = None
    """The checkpoint that ``start`` comes from; None for a start from step 0."""
