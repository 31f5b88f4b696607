"""One element of a Slurm array: every so-many-th task of a step."""

from pathlib import Path

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import DataError, one_line_errors
from megalite.corpus.prepare.stages import all_stages, run_task
from megalite.corpus.prepare.steps import open_job
from megalite.jobs.work_folder import PLAN, full_disk


@one_line_errors
def main() -> None:
    """``python -m megalite.corpus.prepare.run_task``."""
    parser = CommandParser(description="Run tasks of a corpus; the scripts of --engine slurm call this.")
    parser.add_argument("work", type=Path, metavar="WORK_DIR", help="work folder")
    parser.add_argument("--step", required=True, help="step to run")
    parser.add_argument("--element", type=whole_number(0), default=0, metavar="N", help="number of this array element")
    parser.add_argument(
        "--elements", type=whole_number(), default=1, metavar="COUNT", help="runs tasks N, N + COUNT, ..."
    )
    parser.add_argument("--memory_mb", type=whole_number(), default=2048, help="memory limit, in MB")
    a = parser.parse_args()
    if not (a.work / PLAN).is_file():
        raise DataError(f"{a.work}: holds no plan; its run is over, or was cleared away")
    memory = a.memory_mb << 20
    job = open_job(a.work, memory)
    steps = {step.name: step for stage in all_stages(job.plan) for step in stage.steps}
    if a.step not in steps:
        raise DataError(f"--step {a.step}: {a.work} has {', '.join(steps)}")
    with full_disk(a.work):
        for task in range(a.element, steps[a.step].tasks, a.elements):
            run_task(a.work, a.step, task, memory)


if __name__ == "__main__":
    main()
