"""Runs a job: stage by stage, step by step, the tasks of a step in whatever pool is given."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from megalite.files.whole_file import whole_file
from megalite.jobs.job import KIND, Job, Step, forget_opened_jobs, open_job
from megalite.jobs.work_folder import held_folder, work_folder


class Pool(Protocol):
    """What runs tasks: ``process_pool.WorkerPool`` or ``ray_pool.RayPool``."""

    workers: int

    def map(self, function: Callable[[int], Any], items: Sequence[int]) -> Iterator[Any]:
        """Call ``function`` with every item."""


@contextmanager
def job_folder(kind: str, plan: str, folder: Path, memory_bytes: int = 0, keep: bool = False) -> Iterator[Job[Any]]:
    """Hold a job's work folder; it is removed when the block ends without an error, unless ``keep``.

    Args:
        plan: the content of ``plan.json``; work that an earlier run left for the same plan is still there.
        memory_bytes: for each worker.

    Raises: DataError if another run holds the folder, or the disk is full.
    """
    with (held_folder if keep else work_folder)(folder, plan):
        with whole_file(folder / KIND) as file:
            file.write(kind.encode())
        forget_opened_jobs()
        yield open_job(folder, memory_bytes)


def run_job(job: Job[Any], pool: Pool, console: Console, after_step: Callable[[Step], None] = lambda _: None) -> None:
    """Run all tasks that are not done yet.

    Args:
        after_step: called in this process when a step is done; it may raise to stop the job.

    Raises: DataError, OSError.
    """
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    times: list[tuple[str, int, float]] = []
    memory_bytes = job.memory_bytes  # tasks in this process change the job's
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for stage in job.stages:
            began, tasks = time.perf_counter(), 0
            if not job.is_finished(stage):
                for step in stage.steps:
                    tasks += _run_step(job, step, memory_bytes, pool, progress)
                    after_step(step)
            times.append((stage.name, tasks, time.perf_counter() - began))
    if len(times) > 1:
        console.print(_table(times))


def _table(times: Sequence[tuple[str, int, float]]) -> Table:
    table = Table("stage", "tasks run", "seconds", title="stages", title_justify="left")
    for name, tasks, seconds in times:
        table.add_row(name, f"{tasks:,}" if tasks else "done before", f"{seconds:.1f}")
    return table


def _run_step(job: Job[Any], step: Step, memory_bytes: int, pool: Pool, progress: Progress) -> int:
    """Return the number of tasks that were left to run."""
    tasks = [task for task in range(step.tasks) if not step.is_done(job, task)]
    bar = progress.add_task(step.name, total=step.tasks, completed=step.tasks - len(tasks))
    memory = memory_bytes * (pool.workers if step.tasks == 1 else 1)  # a lone task has the memory of all workers
    for _ in pool.map(functools.partial(run_task, job.folder, step.name, memory), tasks):
        progress.advance(bar)
    return len(tasks)


def run_task(folder: Path, step_name: str, memory_bytes: int, task: int) -> None:
    """Run one task of the job in this work folder, unless it is done. Raises: DataError, OSError."""
    job = open_job(folder, memory_bytes)
    stage, step = job.step(step_name)
    if not job.is_finished(stage) and not step.is_done(job, task):
        (folder / stage.name).mkdir(exist_ok=True)
        step.run(job, task)


def unfinished_steps(job: Job[Any]) -> list[Step]:
    """Every step of the stages that are not finished."""
    return [step for stage in job.stages if not job.is_finished(stage) for step in stage.steps]
