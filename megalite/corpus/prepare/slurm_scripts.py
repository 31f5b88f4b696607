"""The plant for Slurm: an array of jobs for every step, each after the one before, written down and handed over.

Own scripts of a few lines: datatrove's executor for Slurm (0.10.1) calls ``sbatch`` in the same breath as it writes, and
where a step has more tasks than an array may have, what comes after waits only for the last of its arrays.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from megalite.config.errors import DataError
from megalite.corpus.prepare.recipe import Slurm
from megalite.corpus.prepare.stages import all_stages
from megalite.corpus.prepare.steps import Job, is_finished
from megalite.files.own_folder import own_folder
from megalite.files.place import beside

SUBMIT, JOBS = "submit.sh", "jobs"
SPARE_MB = 512
"""Of a task's memory, for all that does not grow with the corpus."""
SUBMIT_SCRIPT = """#!/usr/bin/env bash
# Hands the jobs to Slurm, each to begin when the one before has ended well; their numbers go to the file 'jobs'.
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


def scripts_folder_of(output: Path) -> Path:
    """Where the scripts, the logs and the numbers of the jobs are: beside the output."""
    return beside(output, ".slurm")


def write_scripts(job: Job | None, slurm: Slurm, folder: Path, last: Sequence[str]) -> list[Path]:
    """One script for each step that is not done, one for the command ``last``, and ``submit.sh``.

    Args:
        job: None where only ``last`` is to be done.
    """
    with own_folder(folder):
        (folder / "logs").mkdir(exist_ok=True)
    for old in folder.glob("*.sbatch"):
        old.unlink()
    names: list[str] = []
    for stage in all_stages(job.plan) if job is not None else ():
        for step in stage.steps if job is not None and not is_finished(job, stage) else ():
            assert job is not None
            elements = min(step.tasks, slurm.max_array_size)
            command = [sys.executable, "-m", "megalite.corpus.prepare.run_task", str(job.folder.resolve())]
            command += ["--step", step.name, "--elements", str(elements)]
            command += ["--memory_mb", str(max(16, slurm.memory_gb * 1024 - SPARE_MB))]
            line = shlex.join(command) + ' --element "$SLURM_ARRAY_TASK_ID"'
            names.append(_write(folder, f"{len(names) + 1:02d}-{step.name}", slurm, elements, line))
    names.append(_write(folder, f"{len(names) + 1:02d}-finish", slurm, None, shlex.join(last)))
    (folder / SUBMIT).write_text(SUBMIT_SCRIPT.format(jobs=JOBS, scripts=" ".join(names)))
    return [folder / name for name in names]


def submit(folder: Path) -> list[str]:
    """Run ``submit.sh``; the numbers of the jobs. Raises: DataError where Slurm takes a job not."""
    done = subprocess.run(["bash", str(folder / SUBMIT)], capture_output=True, text=True, check=False)
    jobs = (folder / JOBS).read_text().split()
    if done.returncode:
        reason = (done.stderr.splitlines() or ["sbatch failed"])[-1]
        taken = f"; already taken: scancel {' '.join(jobs)}" if jobs else ""
        raise DataError(f"{folder / SUBMIT}: {reason}{taken}; see the slurm section of the recipe")
    return jobs


def refuse_submitted(folder: Path) -> None:
    """Raises: DataError where jobs of this output wait or run."""
    path = folder / JOBS
    jobs = path.read_text().split() if path.is_file() else []
    if not jobs:
        return
    if shutil.which("squeue") is None:
        raise DataError(f"{path}: these jobs were handed to Slurm; if they are over, remove the file and try again")
    query = ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(jobs)}"]
    if subprocess.run(query, capture_output=True, text=True, check=False).stdout.split():
        raise DataError(f"{path}: jobs of this output wait or run; wait for them, or scancel {' '.join(jobs)}")


def _write(folder: Path, name: str, slurm: Slurm, elements: int | None, command: str) -> str:
    """One script; ``elements`` is None for a job that is no array."""
    at_once = f"%{slurm.running}" if slurm.running is not None else ""
    options = {
        "job-name": name,
        "partition": slurm.partition,
        "account": slurm.account,
        "time": slurm.time,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(slurm.cpus if elements is None else 1),
        "mem": f"{slurm.memory_gb}G",
        "array": None if elements is None else f"0-{elements - 1}{at_once}",
        "output": str(folder.resolve() / "logs" / (f"{name}-%j.out" if elements is None else f"{name}-%A_%a.out")),
        **slurm.options,
    }
    lines = ["#!/usr/bin/env bash"]
    lines += [f"#SBATCH --{key}={value}" for key, value in options.items() if value is not None]
    lines += ["set -euo pipefail", f"cd {shlex.quote(str(Path.cwd()))}", *slurm.setup, command]
    (folder / f"{name}.sbatch").write_text("\n".join(lines) + "\n")
    return f"{name}.sbatch"
