"""``python -m megalite.jobs.run_task``: one element of a Slurm array runs every ``--elements``-th task of a step."""

from pathlib import Path

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import one_line_errors
from megalite.jobs.job import open_job
from megalite.jobs.run import run_task
from megalite.jobs.work_folder import PLAN, full_disk


@one_line_errors
def main() -> None:
    """Entry point of the scripts that ``--engine slurm`` writes."""
    parser = CommandParser(description="Run some tasks of one step of a job (for the scripts of --engine slurm).")
    parser.add_argument("work", type=Path, metavar="WORK_DIR", help="work folder of the job")
    parser.add_argument("--step", required=True, help="name of the step")
    parser.add_argument("--element", type=whole_number(0), default=0, metavar="N", help="number of this array element")
    parser.add_argument(
        "--elements",
        type=whole_number(),
        default=1,
        metavar="COUNT",
        help="run the tasks N, N + COUNT, N + 2 COUNT, ...",
    )
    parser.add_argument("--memory_mb", type=whole_number(), default=2048, help="memory limit of a task, in MB")
    parser.add_argument("--if_planned", action="store_true", help="do nothing if WORK_DIR holds no plan")
    a = parser.parse_args()
    if a.if_planned and not (a.work / PLAN).is_file():
        return
    memory = a.memory_mb << 20
    _, step = open_job(a.work, memory).step(a.step)
    with full_disk(a.work):
        for task in range(a.element, step.tasks, a.elements):
            run_task(a.work, a.step, memory, task)


if __name__ == "__main__":
    main()
