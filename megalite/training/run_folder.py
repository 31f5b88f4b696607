"""The layout of ``runs/NAME``: what is written where, and which checkpoint is the newest.

::

    runs/NAME/run.yaml            the config as resolved
    runs/NAME/ds_config.json      what DeepSpeed was given
    runs/NAME/metrics.jsonl       one JSON object a logged step
    runs/NAME/tensorboard/
    runs/NAME/step-000500/hf/         the export: AutoModelForCausalLM loads it
    runs/NAME/step-000500/optimizer/  fp32 master weights and moments, by the same names
    runs/NAME/step-000500/state.json  step, consumed samples, what the run was made of
    runs/NAME/step-000500/manifest.json  size and sha256 of every file; written last
"""

import re
from pathlib import Path

from megalite.config.errors import ConfigError
from megalite.config.schema import RunConfig
from megalite.training.checkpoint_manifest import MANIFEST

PARTIAL_SUFFIX = ".partial"
_STEP = re.compile(r"step-(\d{6,})")


def run_folder(config: RunConfig) -> Path:
    """``output_dir/name``."""
    return Path(config.run.output_dir) / config.run.name


def step_folder(run: Path, step: int) -> Path:
    """The checkpoint folder of an optimizer step."""
    return run / f"step-{step:06d}"


def checkpoints(run: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first. A folder appears under its name only when it is whole."""
    found = [path for path in run.glob("step-*") if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def checkpoint_to_resume(run: Path, resume: str | None) -> Path | None:
    """What ``--resume`` means for this run folder, or None for a fresh start.

    Args:
        resume: None without the flag; ``""`` for the newest checkpoint; else a checkpoint folder.

    Raises: ConfigError where a run would be silently reused, or where there is nothing to resume.
    """
    if resume is None:
        if run.exists() and any(run.iterdir()):
            raise ConfigError(
                f"{run}: this run folder exists; continue it with --resume, or choose another name with run.name=..."
            )
        return None
    if resume:
        return _named_checkpoint(run, Path(resume))
    if not run.is_dir():
        raise ConfigError(f"--resume: there is no run folder {run}; leave --resume out to start the run")
    found = checkpoints(run)
    if not found:
        raise ConfigError(
            f"--resume: {run} holds no finished checkpoint; remove the folder and start again without --resume"
        )
    return found[-1]


def _named_checkpoint(run: Path, checkpoint: Path) -> Path:
    """A checkpoint given by its path, refused where going on from it would meet what is in the run folder already."""
    if not (checkpoint / MANIFEST).is_file():
        raise ConfigError(f"--resume {checkpoint}: not a checkpoint folder (no {MANIFEST} in it); give a step-* folder")
    if checkpoint.resolve().parent == run.resolve():
        newest = checkpoints(run)[-1]
        if newest.name != checkpoint.name:
            raise ConfigError(
                f"--resume {checkpoint}: {newest} is newer and would be met again; go on in a folder of its own with "
                f"run.name=..., or remove the newer checkpoints"
            )
    elif run.exists() and any(run.iterdir()):
        raise ConfigError(f"--resume {checkpoint}: the run folder {run} exists; choose another name with run.name=...")
    return checkpoint
