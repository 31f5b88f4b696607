"""The layout of ``runs/NAME``: what is written where, and which checkpoint is the newest.

::

    runs/NAME/run.yaml            the config as resolved
    runs/NAME/ds_config.json      what DeepSpeed was given
    runs/NAME/metrics.jsonl       one JSON object per event
    runs/NAME/metrics.undone.jsonl    records of steps that a resume has undone
    runs/NAME/tensorboard/
    runs/NAME/step-000500/hf/         the export: AutoModelForCausalLM loads it
    runs/NAME/step-000500/optimizer/  fp32 master weights and optimizer state, by the same names
    runs/NAME/step-000500/state.json  step, consumed samples, and what a resume must match
    runs/NAME/step-000500/manifest.json  size and sha256 of every file; written last
    runs/NAME/.lock, .ranks/      of the running job (lock, heartbeats); a file .ranks/stop makes it save and stop
"""

import json
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from megalite.config.errors import ConfigError
from megalite.config.schema import RunConfig
from megalite.config.text_files import read_json_object, read_yaml_file
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import flush
from megalite.training.checkpoint.manifest import MANIFEST
from megalite.training.run_lock import LOCK

PARTIAL_SUFFIX = ".partial"
METRICS, UNDONE = "metrics.jsonl", "metrics.undone.jsonl"
HEARTBEATS, VERIFIED_DATA = ".ranks", "verified_data.json"
WITHOUT_CHECKPOINT = (
    "run.yaml*",
    "ds_config.json*",
    METRICS,
    UNDONE,
    f"{VERIFIED_DATA}*",
    "tensorboard",
    LOCK,
    HEARTBEATS,
    "step-*.partial",
)
"""Files of a run that ended before its first checkpoint: nothing to resume, so nothing to protect."""
_STEP = re.compile(r"step-(\d{6,})")


def run_folder(config: RunConfig) -> Path:
    """``output_dir/name``."""
    return Path(config.run.output_dir) / config.run.name


def step_folder(run: Path, step: int) -> Path:
    """The checkpoint folder of an optimizer step."""
    return run / f"step-{step:06d}"


def checkpoints(run: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first. A folder gets its name only once it is complete."""
    return [path for path in _step_folders(run) if (path / MANIFEST).is_file()]


def how_to_resume(run: Path) -> str:
    """What the user can do after a job has failed."""
    if checkpoints(run):
        return "resume from the last checkpoint with --resume"
    return "no checkpoint was written yet: run the same command again"


def checkpoint_to_resume(run: Path, resume: str | None) -> Path | None:
    """The checkpoint that ``--resume`` selects, or None for a start from step 0.

    A run that ended before its first checkpoint starts again, with or without the flag.

    Args:
        resume: None without the flag; ``""`` for the newest checkpoint; otherwise a checkpoint folder.

    Raises: ConfigError if an existing run would be reused without the flag, or if there is nothing to resume.
    """
    if resume:
        return _named_checkpoint(run, Path(resume))
    if resume is not None and not run.is_dir():
        raise ConfigError(f"--resume: no such run folder {run}; omit --resume to start the run")
    found = checkpoints(run)
    if resume is None and found:
        raise ConfigError(
            f"{run}: this run folder exists; continue it with --resume, or choose another name with run.name=..."
        )
    if found:
        _refuse_obstacle(run, found[-1])
        return found[-1]
    if foreign := _foreign(run):
        raise ConfigError(
            f"{run}: contains no finished checkpoint, and '{foreign[0]}', which no run writes before its first checkpoint; "
            f"choose another name with run.name=..."
        )
    return None


def open_run_folder(run: Path, config: RunConfig, ds_config: dict[str, Any], step: int) -> None:
    """Prepare the folder for this run, which continues after ``step``. Every rank has accepted the checkpoint by now."""
    run.mkdir(parents=True, exist_ok=True)
    for partial in run.glob(f"step-*{PARTIAL_SUFFIX}"):  # left by a job that was killed while saving
        if _STEP.fullmatch(partial.name.removesuffix(PARTIAL_SUFFIX)):
            shutil.rmtree(partial)
    undo_records(run, step)
    for name, text in {
        "run.yaml": yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        "ds_config.json": json.dumps(ds_config, indent=2) + "\n",
    }.items():
        with whole_file(run / name) as file:
            file.write(text.encode())


def undo_records(run: Path, step: int) -> None:
    """Move the records of later steps out of ``metrics.jsonl``; these steps will run again."""
    if not (run / METRICS).is_file():
        return
    lines = (run / METRICS).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _is_until(line, step)]
    if len(kept) == len(lines):
        return
    with (run / UNDONE).open("ab") as undone:
        undone.writelines(line for line in lines if not _is_until(line, step))
    with whole_file(run / METRICS) as file:
        file.writelines(kept)
    if not kept:
        (run / METRICS).unlink()


def remove_old_checkpoints(run: Path, name: str, keep_last: int) -> None:
    """Delete all but the newest ``keep_last`` checkpoints. Others than this run's stay, and do not count."""
    for old in [path for path in checkpoints(run) if _is_of_this_run(path, name)][:-keep_last]:
        removed = old.with_name(old.name + PARTIAL_SUFFIX)  # a half-deleted checkpoint must not keep its name
        shutil.rmtree(removed, ignore_errors=True)
        old.rename(removed)
        flush(run)
        shutil.rmtree(removed)


def _is_of_this_run(checkpoint: Path, name: str) -> bool:
    """Whether a run of this name wrote the checkpoint, and its folder contains nothing else."""
    try:
        listed = {*read_json_object(checkpoint / MANIFEST)["files"], MANIFEST}
        written_by = read_yaml_file(checkpoint / "run.yaml")["run"]["name"]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    found = {str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if not path.is_dir()}
    return written_by == name and found == listed


def _step_folders(run: Path) -> list[Path]:
    found = [path for path in run.glob("step-*") if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _foreign(run: Path) -> list[str]:
    names = sorted(path.name for path in run.iterdir()) if run.exists() else []
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in WITHOUT_CHECKPOINT)]


def _refuse_obstacle(run: Path, newest: Path) -> None:
    """Refuse a later step folder that is no checkpoint: the run would fail when it reaches that step."""
    if (last := _step_folders(run)[-1]) != newest:
        raise ConfigError(
            f"{last}: is not a complete checkpoint (no {MANIFEST} in it) and is later than {newest}; move it away"
        )


def _is_until(line: bytes, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, TypeError, KeyError):  # incomplete, if the job was killed
        return False


def _named_checkpoint(run: Path, checkpoint: Path) -> Path:
    """A checkpoint given by its path. Raises: ConfigError if the resumed run would collide with the run folder."""
    if not (checkpoint / MANIFEST).is_file():
        raise ConfigError(f"--resume {checkpoint}: not a checkpoint folder (no {MANIFEST} in it); give a step-* folder")
    if checkpoint.resolve().parent == run.resolve():
        newest = checkpoints(run)[-1]
        if newest.name != checkpoint.name:
            raise ConfigError(
                f"--resume {checkpoint}: {newest} is newer, and the run would reach it again; choose another name "
                f"with run.name=..., or remove the newer checkpoints"
            )
        _refuse_obstacle(run, newest)
    elif _foreign(run):
        raise ConfigError(f"--resume {checkpoint}: the run folder {run} exists; choose another name with run.name=...")
    return checkpoint
