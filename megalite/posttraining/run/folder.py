"""The folder of a post-training run: what stands in it, and where ``--resume`` goes on.

::

    runs/NAME/run.yaml            the config as resolved
    runs/NAME/ds_config.json      what DeepSpeed was given, if anything
    runs/NAME/mask_doctor.html    samples coloured by loss (SFT)
    runs/NAME/metrics.jsonl       one JSON object a logged step
    runs/NAME/tensorboard/
    runs/NAME/checkpoint-N/       transformers' training state; whole.json in it is written last
    runs/NAME/hf/                 the export: AutoModelForCausalLM loads it; written when the run is done
    runs/NAME/adapter/            with lora: the adapter alone, as PEFT loads it
"""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from megalite.config.errors import ConfigError
from megalite.files.place import check_place
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import flush_all
from megalite.posttraining.schema import TuningRun
from megalite.training.run_folder import METRICS, UNDONE
from megalite.training.run_lock import LOCK

WHOLE = "whole.json"
MASK_PAGE = "mask_doctor.html"
"""The one file that ``--check`` leaves; it does not make a folder a run."""
WITHOUT_CHECKPOINT = (MASK_PAGE, LOCK, METRICS, UNDONE, "run.yaml*", "ds_config.json*", "tensorboard")
FREE_TO_CHANGE = ("run", "logging", "checkpoint", "validation")
"""Sections that may differ between a run and its continuation."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def tuning_folder(config: TuningRun) -> Path:
    """``output_dir/name``."""
    return Path(config.run.output_dir) / config.run.name


def resume_point(config: TuningRun, resume: str | None, world_size: int, with_deepspeed: bool) -> Path | None:
    """What ``--resume`` means for this run, or None for a fresh start.

    Args:
        resume: None without the flag; ``""`` for the newest whole checkpoint; else a checkpoint folder.

    Raises: ConfigError where a run would be silently reused, where there is nothing to go on from, or where the
        checkpoint was made by another config or number of ranks.
    """
    run = tuning_folder(config)
    if not resume and _has_just_begun(run, must_exist=resume is not None):
        check_place(run / "run.yaml", [config.model.path])
        return None
    if resume is None:
        if run.exists():
            raise ConfigError(
                f"{run}: this run folder exists; continue it with --resume, or choose another name with run.name=..."
            )
        check_place(run / "run.yaml", [config.model.path])
        return None
    if (run / "hf").exists():
        raise ConfigError(f"--resume: {run / 'hf'} is there: the run is done; choose another name with run.name=...")
    checkpoint = Path(resume) if resume else _newest(run)
    if not (checkpoint / WHOLE).is_file():
        raise ConfigError(
            f"--resume {checkpoint}: not a whole checkpoint (no {WHOLE} in it); give a checkpoint-N folder"
        )
    if checkpoint.resolve().parent != run.resolve():
        raise ConfigError(f"--resume {checkpoint}: is not a checkpoint of {run}; choose its run with run.name=...")
    written = json.loads((checkpoint / WHOLE).read_text(encoding="utf-8"))
    if with_deepspeed and written["world_size"] != world_size:
        raise ConfigError(
            f"--resume {checkpoint}: written by {written['world_size']} ranks in DeepSpeed's own format, which "
            f"{world_size} cannot read; start {written['world_size']}"
        )
    _same_run(run, config)
    return checkpoint


def _has_just_begun(run: Path, must_exist: bool) -> bool:
    """Whether nothing is in the folder, or what a run leaves that ended before its first checkpoint: it starts again."""
    if not run.is_dir():
        return not must_exist
    names = [path.name for path in run.iterdir() if not (path.is_dir() and _is_cut_off(path))]
    return all(any(fnmatch(name, pattern) for pattern in WITHOUT_CHECKPOINT) for name in names)


def _is_cut_off(checkpoint: Path) -> bool:
    return _CHECKPOINT.fullmatch(checkpoint.name) is not None and not (checkpoint / WHOLE).is_file()


def write_run_files(run: Path, config: TuningRun, ds_config: dict[str, Any] | None) -> None:
    """``run.yaml`` and ``ds_config.json``, in a folder that may be new."""
    run.mkdir(parents=True, exist_ok=True)
    write_whole(run / "run.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    if ds_config is not None:
        write_whole(run / "ds_config.json", json.dumps(ds_config, indent=2) + "\n")


def mark_whole(checkpoint: Path, step: int, world_size: int) -> None:
    """Say that everything of a checkpoint is on the disk; one without this mark is never resumed."""
    flush_all(checkpoint)
    write_whole(checkpoint / WHOLE, json.dumps({"step": step, "world_size": world_size}) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name, flush it to the disk, and rename it."""
    with whole_file(path) as file:
        file.write(text.encode())


def _newest(run: Path) -> Path:
    if not run.is_dir():
        raise ConfigError(f"--resume: there is no run folder {run}; leave --resume out to start the run")
    found = [path for path in run.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name) and (path / WHOLE).is_file()]
    if not found:
        raise ConfigError(
            f"--resume: {run} holds no whole checkpoint; remove the folder and start again without --resume"
        )
    return max(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _same_run(run: Path, config: TuningRun) -> None:
    before = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    now = config.model_dump(mode="json")
    for section in now:
        if section in FREE_TO_CHANGE or before.get(section) == now[section]:
            continue
        old, new = before.get(section) or {}, now[section] or {}
        key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
        raise ConfigError(
            f"--resume: {section}.{key} was {old.get(key)!r} in {run / 'run.yaml'} and is {new.get(key)!r} now; the run "
            f"would not be the same: start one of its own with run.name=..."
        )
    if before["run"]["seed"] != now["run"]["seed"]:
        raise ConfigError(f"--resume: run.seed was {before['run']['seed']} and is {now['run']['seed']} now; keep it")
