"""Jobs on a Slurm cluster: a script with an array for every step, each submitted to start after the one before.

Own scripts of a few lines, because datatrove's executor for Slurm (0.10.1) calls ``sbatch`` while it writes them, and if a
step has more tasks than an array may have, the next step waits only for the last of its arrays.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from megalite.config.bounds import unit
from megalite.config.errors import DataError
from megalite.config.section import OneLine, Section
from megalite.files.own_folder import own_folder
from megalite.files.place import beside

SUBMIT, JOBS = "submit.sh", "jobs"
SPARE_MB = 512
"""Part of a task's memory for everything that does not grow with the corpus."""
SUBMIT_SCRIPT = """#!/usr/bin/env bash
# Submits the jobs to Slurm. Each starts when the one before has succeeded. Their ids go to the file 'jobs'.
set -euo pipefail
cd "$(dirname "$0")"
: >{jobs}
after=()
for script in {scripts}; do
    job=$(sbatch --parsable --kill-on-invalid-dep=yes "${{after[@]}}" "$script")
    job=${{job%%;*}}
    echo "$job" >>{jobs}
    after=(--dependency="afterok:$job")
done
"""


class Slurm(Section):
    """What each task requests from the cluster, with ``--engine slurm``."""

    partition: OneLine | None = None
    """Partition to submit to; null is the cluster's default."""
    account: OneLine | None = None
    """Account to charge; null is the user's default."""
    time: str = Field(default="24:00:00", pattern=r"^[0-9]+(-[0-9]+)?(:[0-9]+){0,2}$")
    """Time limit of a task, as sbatch takes it: minutes, or ``[DAYS-]HOURS:MINUTES:SECONDS``. Quote it, or YAML reads
    a number."""
    cpus: Annotated[int, unit("CPU cores")] = Field(default=1, ge=1, le=1024)
    """CPU cores of the jobs that train the tokenizer and join the tokens; all other tasks use one."""
    memory_gb: Annotated[int, unit("GB")] = Field(default=8, ge=1, le=1_000_000)
    """Memory of a task."""
    max_array_size: Annotated[int, unit("elements")] = Field(default=1000, ge=1, le=1_000_000)
    """Maximum number of elements in a job array; if there are more tasks, each element runs several."""
    running: Annotated[int | None, unit("elements")] = Field(default=None, ge=1, le=1_000_000)
    """Maximum number of array elements that run at the same time; null sets no limit."""
    setup: tuple[str, ...] = ()
    """Shell commands to run before the work, such as the activation of an environment."""
    options: dict[OneLine, OneLine] = Field(default_factory=dict)
    """Further options of sbatch, for example ``{qos: low}``."""


class Script(NamedTuple):
    """One Slurm job."""

    name: str
    command: list[str]
    tasks: int | None = None
    """Tasks of an array that share the work; None for a job that is no array."""


def step_script(name: str, work: Path, step: str, tasks: int, slurm: Slurm, if_planned: bool = False) -> Script:
    """An array that runs a step of the job in ``work``.

    Args:
        if_planned: succeed without doing anything if ``work`` holds no plan by then.
    """
    command = [sys.executable, "-m", "megalite.jobs.run_task", str(work.resolve()), "--step", step]
    command += ["--elements", str(min(tasks, slurm.max_array_size))]
    command += ["--memory_mb", str(max(16, slurm.memory_gb * 1024 - SPARE_MB))]
    return Script(name, command + ["--if_planned"] * if_planned, tasks)


def scripts_folder_of(output: Path) -> Path:
    """The folder with the scripts, the logs and the ids of the jobs: beside the output."""
    return beside(output, ".slurm")


def write_scripts(scripts: Sequence[Script], slurm: Slurm, folder: Path) -> list[Path]:
    """Write one file per script, numbered in their order, and ``submit.sh``."""
    with own_folder(folder):
        (folder / "logs").mkdir(exist_ok=True)
    for old in folder.glob("*.sbatch"):
        old.unlink()
    names = [_write(folder, f"{number:02d}-{script.name}", slurm, script) for number, script in enumerate(scripts, 1)]
    (folder / SUBMIT).write_text(SUBMIT_SCRIPT.format(jobs=JOBS, scripts=" ".join(names)))
    return [folder / name for name in names]


def submit(folder: Path) -> list[str]:
    """Run ``submit.sh`` and return the job ids. Raises: DataError if Slurm rejects a job."""
    done = subprocess.run(["bash", str(folder / SUBMIT)], capture_output=True, text=True, check=False)
    jobs = (folder / JOBS).read_text().split()
    if done.returncode:
        reason = (done.stderr.splitlines() or ["sbatch failed"])[-1]
        accepted = f"; accepted before that: scancel {' '.join(jobs)}" if jobs else ""
        raise DataError(f"{folder / SUBMIT}: {reason}{accepted}; see the slurm section of the recipe")
    return jobs


def refuse_submitted(folder: Path) -> None:
    """Raises: DataError if jobs for this output are queued or running."""
    path = folder / JOBS
    jobs = path.read_text().split() if path.is_file() else []
    if not jobs:
        return
    if shutil.which("squeue") is None:
        raise DataError(
            f"{path}: these jobs were submitted to Slurm; if they have ended, remove the file and try again"
        )
    query = ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(jobs)}"]
    if subprocess.run(query, capture_output=True, text=True, check=False).stdout.split():
        raise DataError(
            f"{path}: jobs for this output are queued or running; wait for them, or scancel {' '.join(jobs)}"
        )


def _write(folder: Path, name: str, slurm: Slurm, script: Script) -> str:
    array = None if script.tasks is None else min(script.tasks, slurm.max_array_size)
    at_once = f"%{slurm.running}" if slurm.running is not None else ""
    options = {
        "job-name": name,
        "partition": slurm.partition,
        "account": slurm.account,
        "time": slurm.time,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(slurm.cpus if array is None else 1),
        "mem": f"{slurm.memory_gb}G",
        "array": None if array is None else f"0-{array - 1}{at_once}",
        "output": str(folder.resolve() / "logs" / (f"{name}-%j.out" if array is None else f"{name}-%A_%a.out")),
        **slurm.options,
    }
    command = shlex.join(script.command) + ("" if array is None else ' --element "$SLURM_ARRAY_TASK_ID"')
    lines = ["#!/usr/bin/env bash"]
    lines += [f"#SBATCH --{key}={value}" for key, value in options.items() if value is not None]
    lines += ["set -euo pipefail", f"cd {shlex.quote(str(Path.cwd()))}", *slurm.setup, command]
    (folder / f"{name}.sbatch").write_text("\n".join(lines) + "\n")
    return f"{name}.sbatch"
