"""The run folder of a post-training run, and the checkpoint that ``--resume`` continues from.

::

    runs/NAME/run.yaml            the resolved config
    runs/NAME/ds_config.json      the DeepSpeed config, if one is used
    runs/NAME/mask_doctor.html    samples coloured by loss (SFT)
    runs/NAME/metrics.jsonl       one JSON object for each logged step
    runs/NAME/tensorboard/
    runs/NAME/checkpoint-N/       training state of transformers; whole.json is written last and marks it as complete
    runs/NAME/hf/                 the tuned model for AutoModelForCausalLM, written at the end of the run
    runs/NAME/adapter/            with lora: the adapter alone, for PEFT
"""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from megalite.config.errors import ConfigError
from megalite.config.load import read_yaml
from megalite.config.text_files import read_json_object
from megalite.files.json_file import write_json
from megalite.files.place import check_place
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import flush_all
from megalite.posttraining.schema import TuningRun
from megalite.posttraining.settings import Settings
from megalite.training.run_folder import METRICS, UNDONE
from megalite.training.run_lock import LOCK

COMPLETE = "whole.json"
MASK_PAGE = "mask_doctor.html"
"""The only file that ``--check`` writes."""
WITHOUT_CHECKPOINT = (MASK_PAGE, LOCK, METRICS, UNDONE, "run.yaml*", "ds_config.json*", "tensorboard")
"""Files that may be left by a run that ended before its first checkpoint."""
FREE_TO_CHANGE = ("run", "logging", "checkpoint", "validation")
"""Sections that may differ between a run and its continuation."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def resume_point(settings: Settings[Any]) -> Path | None:
    """Return the checkpoint to resume from, or None for a fresh start.

    ``settings.resume`` is None without ``--resume``, ``""`` for the newest complete checkpoint, or a checkpoint folder.

    Raises: ConfigError if an existing run would be overwritten, if there is no checkpoint to resume from, or if the
        checkpoint was written with another config or number of ranks.
    """
    config, resume, run = settings.config, settings.resume, settings.config.folder
    if not resume and _has_no_checkpoint(run, must_exist=resume is not None):
        check_place(run / "run.yaml", [config.model.path])
        return None
    if resume is None:
        raise ConfigError(
            f"{run}: this run folder exists; resume the run with --resume, or choose another name with run.name=..."
        )
    if (run / "hf").exists():
        raise ConfigError(f"--resume: {run / 'hf'} exists: the run is finished; choose another name with run.name=...")
    checkpoint = Path(resume) if resume else _newest(run)
    if not (checkpoint / COMPLETE).is_file():
        raise ConfigError(
            f"--resume {checkpoint}: not a complete checkpoint (no {COMPLETE} in it); give a checkpoint-N folder"
        )
    if checkpoint.resolve().parent != run.resolve():
        raise ConfigError(f"--resume {checkpoint}: is not a checkpoint of {run}; choose its run with run.name=...")
    ranks = read_json_object(checkpoint / COMPLETE).get("world_size")
    if settings.ds_config is not None and ranks != settings.world_size:
        raise ConfigError(
            f"--resume {checkpoint}: written by {ranks} ranks in DeepSpeed's format, which {settings.world_size} ranks "
            f"cannot read; start {ranks}"
        )
    _refuse_changes(run, config)
    return checkpoint


def write_run_files(config: TuningRun, ds_config: dict[str, Any] | None) -> None:
    """Write ``run.yaml`` and ``ds_config.json``."""
    config.folder.mkdir(parents=True, exist_ok=True)
    with whole_file(config.folder / "run.yaml") as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    if ds_config is not None:
        write_json(config.folder / "ds_config.json", ds_config)


def mark_complete(checkpoint: Path, step: int, world_size: int) -> None:
    """Flush a checkpoint to disk and mark it as complete; only marked checkpoints are resumed."""
    flush_all(checkpoint)
    write_json(checkpoint / COMPLETE, {"step": step, "world_size": world_size})


def step_of(checkpoint: Path | None) -> int:
    """The step of ``checkpoint-N``; -1 for None."""
    return -1 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))


def _has_no_checkpoint(run: Path, must_exist: bool) -> bool:
    """Whether the folder holds nothing but what a run leaves that ended before its first checkpoint."""
    if not run.is_dir():
        return not must_exist
    names = [path.name for path in run.iterdir() if not (path.is_dir() and _is_incomplete(path))]
    return all(any(fnmatch(name, pattern) for pattern in WITHOUT_CHECKPOINT) for name in names)


def _is_incomplete(checkpoint: Path) -> bool:
    return _CHECKPOINT.fullmatch(checkpoint.name) is not None and not (checkpoint / COMPLETE).is_file()


def _newest(run: Path) -> Path:
    if not run.is_dir():
        raise ConfigError(f"--resume: no such run folder {run}; omit --resume to start the run")
    found = [path for path in run.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]
    found = [path for path in found if not _is_incomplete(path)]
    if not found:
        raise ConfigError(f"--resume: {run} has no complete checkpoint; remove the folder and start without --resume")
    return max(found, key=step_of)


def _refuse_changes(run: Path, config: TuningRun) -> None:
    before, now = read_yaml(run / "run.yaml"), config.model_dump(mode="json")
    for section in now:
        if section in FREE_TO_CHANGE or before.get(section) == now[section]:
            continue
        old, new = before.get(section) or {}, now[section] or {}
        key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
        raise ConfigError(
            f"--resume: {section}.{key} was {old.get(key)!r} in {run / 'run.yaml'} and is {new.get(key)!r} now; "
            f"restore it, or start a new run with run.name=..."
        )
    if before["run"]["seed"] != now["run"]["seed"]:
        raise ConfigError(f"--resume: run.seed was {before['run']['seed']} and is {now['run']['seed']} now; restore it")
