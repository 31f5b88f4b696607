"""Whether a run could start here and now: data, tokenizer, run folder, checkpoint, disk and memory."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from megalite.config.errors import ConfigError, DataError
from megalite.config.launch import Launch
from megalite.config.paths import searched
from megalite.config.schema import RunConfig
from megalite.data.training_data import TrainingData, check_preparation, needed_files, open_training_data
from megalite.planning.plan import Plan, Row, readable_bytes
from megalite.tokenizer.load import load_tokenizer
from megalite.training.checkpoint.training_state import check_data_order, resumed_state, verify_files
from megalite.training.run_folder import checkpoint_to_resume, run_folder

GIB = 2**30
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of a container; the file holds ``max`` or a huge number where there is none."""


@dataclass
class Readiness:
    """What was found."""

    rows: list[Row] = field(default_factory=list)
    problem: Exception | None = None
    """The first that would keep the run from starting."""


def look(config: RunConfig, resume: str | None, plan: Plan, is_here: bool) -> Readiness:
    """Look at all that a start would look at, and change nothing.

    Args:
        resume: of the command line, see ``checkpoint_to_resume``.
        is_here: the run would run on this machine, so that its disk counts.
    """
    found = Readiness()
    run = run_folder(config)

    def tokenizer() -> str:
        folder = Path(config.data.tokenizer)
        if not folder.exists():
            if config.data.prepare is None:
                raise FileNotFoundError(f"{folder}: no such tokenizer{searched(folder)}; check data.tokenizer")
            return f"{folder}: will be made by {config.data.prepare.recipe}"
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
        held_out = "no held-out data: data.valid is not given"
        if opened.valid is not None:
            held_out = f"{config.data.valid}: {len(opened.valid.dataset):,} held-out samples"
        return f"fits model and tokenizer; {held_out}"

    def folder() -> str:
        checkpoint = checkpoint_to_resume(run, resume)
        return f"{run}: {'is new' if checkpoint is None else f'goes on from {checkpoint.name}'}"

    def disk() -> str:
        one, most = checkpoint_bytes(config, plan.parameters), checkpoints_kept(config)
        free = shutil.disk_usage(_existing(run)).free
        if is_here and free < one:
            raise ConfigError(
                f"{run}: a checkpoint takes {readable_bytes(one)}, and {readable_bytes(free)} are free there; make room, or "
                f"choose another disk with run.output_dir=..."
            )
        return f"{readable_bytes(one)} each, {most} of them at the end; {readable_bytes(free)} are free"

    looks = {"tokenizer": tokenizer, "data files": data, "run folder": folder, "checkpoints": disk}
    for name, one_look in looks.items():
        try:
            found.rows.append((name, one_look()))
        except (ConfigError, DataError, OSError) as error:
            found.rows.append((name, "not ready, see below"))
            found.problem = found.problem or error
    return found


def _data(config: RunConfig) -> TrainingData | None:
    """The run's data, checked as a start checks it; None where it will be prepared, by a recipe that can."""
    if config.data.prepare is not None and any(not path.exists() for path in needed_files(config)):
        check_preparation(config, config.data.prepare)
        return None
    return open_training_data(config, Console(quiet=True))


def checkpoint_bytes(config: RunConfig, parameters: int) -> int:
    """Of the export's weights, and of the fp32 state beside it: both moments, for bf16 also the master weights."""
    return parameters * (4 + 8 if config.training.precision == "fp32" else 2 + 12)


def checkpoints_kept(config: RunConfig) -> int:
    """How many there are when the run ends."""
    written = -(-config.training.steps // config.checkpoint.every_steps)
    return min(written, config.checkpoint.keep_last or written)


def refuse_too_large(config: RunConfig, plan: Plan, launch: Launch | None) -> None:
    """Refuse a model whose weights, gradients and optimizer state alone do not fit; what offloading keeps is not counted.

    Args:
        launch: of the ranks on this machine; None where the run is planned for others.

    Raises: ConfigError with the arithmetic.
    """
    memory = config.hardware.memory_gib
    if memory is None and launch is None:
        return
    has = memory * GIB if memory is not None else device_memory(launch)  # type: ignore[arg-type]
    needs = plan.model_state.total
    if needs > has and not plan.offloads:
        raise ConfigError(
            f"the model's weights, gradients and optimizer state take {readable_bytes(needs)} on every device, and one has "
            f"{readable_bytes(has)}; use more devices, a higher ZeRO stage, offloading, or a smaller model"
        )


def device_memory(launch: Launch) -> float:
    """Bytes that one rank of this machine can have: a GPU's, or its share of the main memory."""
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
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
