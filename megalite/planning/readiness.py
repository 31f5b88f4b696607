"""Checks whether a run could start here and now: data, tokenizer, run folder, checkpoint, disk and memory."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from megalite.config.ds_config import offloads
from megalite.config.errors import ConfigError, DataError
from megalite.config.launch import Launch
from megalite.config.paths import searched
from megalite.config.schema import RunConfig
from megalite.data.training_data import TrainingData, check_preparation, needed_files, open_training_data
from megalite.planning.memory import ModelState
from megalite.planning.plan_table import Row, readable_bytes
from megalite.tokenizer.load import load_tokenizer
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.checkpoint.training_state import check_data_order, resumed_state
from megalite.training.run_folder import checkpoint_to_resume, run_folder

GIB = 2**30
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files with the limit of a container: bytes; ``max`` or a huge number means no limit."""


@dataclass
class Readiness:
    rows: list[Row] = field(default_factory=list)
    problem: Exception | None = None
    """The first problem that would keep the run from starting."""


def check_readiness(config: RunConfig, resume: str | None, parameters: int, is_here: bool) -> Readiness:
    """Checks all that the start of a run checks, and changes nothing.

    Args:
        resume: value of ``--resume``, see ``checkpoint_to_resume``.
        parameters: of the whole model, for the size of a checkpoint.
        is_here: whether the run is planned for this machine and its disk.
    """
    found = Readiness()
    run = run_folder(config)

    def tokenizer() -> str:
        folder = Path(config.data.tokenizer)
        if not folder.exists():
            if config.data.prepare is None:
                raise FileNotFoundError(f"{folder}: no such tokenizer{searched(folder)}; check data.tokenizer")
            return f"{folder}: will be trained by {config.data.prepare.recipe}"
        ids = load_tokenizer(folder, parse_special_tokens=True).vocab_size
        return f"{folder}: {ids:,} ids, model.vocab_size is {config.model.vocab_size:,}"

    def data() -> str:
        opened = _data(config)
        if opened is None:
            assert config.data.prepare is not None
            return f"will be prepared by {config.data.prepare.recipe} in {config.data.prepare.corpus_dir}"
        checkpoint = checkpoint_to_resume(run, resume)
        if checkpoint is not None:
            verify_files(checkpoint)
            check_data_order(checkpoint, resumed_state(checkpoint, config, opened.checksums), opened.train)
        validation = "no validation data: data.valid is not given"
        if opened.valid is not None:
            validation = f"{config.data.valid}: {len(opened.valid.dataset):,} validation samples"
        return f"compatible with model and tokenizer; {validation}"

    def folder() -> str:
        checkpoint = checkpoint_to_resume(run, resume)
        return f"{run}: {'new run' if checkpoint is None else f'resumes from {checkpoint.name}'}"

    def disk() -> str:
        one, kept = checkpoint_bytes(config, parameters), checkpoints_kept(config)
        free = shutil.disk_usage(_existing(run)).free
        if is_here and free < one:
            raise ConfigError(
                f"{run}: a checkpoint needs {readable_bytes(one)}, but only {readable_bytes(free)} are free; free some "
                f"space, or choose another disk with run.output_dir=..."
            )
        return f"{readable_bytes(one)} each, {kept} at the end of the run; {readable_bytes(free)} free"

    for name, check in {"tokenizer": tokenizer, "data files": data, "run folder": folder, "checkpoints": disk}.items():
        try:
            found.rows.append((name, check()))
        except (ConfigError, DataError, OSError) as error:
            found.rows.append((name, "not ready, see below"))
            found.problem = found.problem or error
    return found


def _data(config: RunConfig) -> TrainingData | None:
    """Returns the run's data, checked as at the start of a run; None if a valid recipe will prepare it."""
    if config.data.prepare is not None and any(not path.exists() for path in needed_files(config)):
        check_preparation(config, config.data.prepare)
        return None
    return open_training_data(config, Console(quiet=True))


def checkpoint_bytes(config: RunConfig, parameters: int) -> int:
    """Returns the size of the exported weights and of the fp32 state: both moments, with bf16 also the master weights."""
    return parameters * (4 + 8 if config.training.precision == "fp32" else 2 + 12)


def checkpoints_kept(config: RunConfig) -> int:
    """Returns the number of checkpoints when the run ends."""
    written = -(-config.training.steps // config.checkpoint.every_steps)
    return min(written, config.checkpoint.keep_last or written)


def refuse_too_large(config: RunConfig, state: ModelState, ds_config: dict[str, Any], launch: Launch | None) -> None:
    """Checks that the weights, gradients and optimizer state fit into the memory of a device, unless they are offloaded.

    Args:
        launch: of this machine's ranks; None if the run is planned for other machines.

    Raises: ConfigError with the arithmetic.
    """
    memory = config.hardware.memory_gib
    if memory is None and launch is None:
        return
    has = memory * GIB if memory is not None else device_memory(launch)  # type: ignore[arg-type]
    if state.total > has and not offloads(ds_config):
        raise ConfigError(
            f"the model's weights, gradients and optimizer state need {readable_bytes(state.total)} per device, but a "
            f"device has {readable_bytes(has)}; use more devices, a higher ZeRO stage, offloading, or a smaller model"
        )


def device_memory(launch: Launch) -> float:
    """Returns the bytes for one rank of this machine: the memory of its GPU, or its share of the main memory."""
    from megalite.training.precision import device_type

    if device_type() == "cuda":
        import torch

        return float(torch.cuda.get_device_properties(launch.local_rank).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in MEMORY_LIMITS:
        text = limit.read_text().strip() if limit.is_file() else "max"
        whole = min(whole, int(text)) if text.isdecimal() else whole
    return whole / launch.local_size


def _existing(path: Path) -> Path:
    """Returns the path, or its nearest existing parent."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
