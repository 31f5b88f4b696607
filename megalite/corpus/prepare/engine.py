"""The plant at work: stage by stage, step by step, the tasks of a step handed to whoever does them."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from megalite.corpus.prepare.stages import all_stages, run_task
from megalite.corpus.prepare.steps import Job, Stage, is_finished


class Pool(Protocol):
    """What does calls: the worker processes of ``worker_pool``, or the Ray cluster of ``ray_pool``."""

    def map(self, function: Callable[[int], Any], items: Sequence[int]) -> Iterator[Any]:
        """``function`` of every item."""


def run_stages(job: Job, pool: Pool, console: Console) -> None:
    """Do what is not done yet. Raises: DataError, OSError."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    times: list[tuple[str, int, float]] = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for stage in all_stages(job.plan):
            began, todo = time.perf_counter(), 0
            if not is_finished(job, stage):
                todo = _run_stage(job, stage, pool, progress)
            times.append((stage.name, todo, time.perf_counter() - began))
    table = Table("stage", "tasks done", "seconds", title="stages", title_justify="left")
    for name, todo, seconds in times:
        table.add_row(name, f"{todo:,}" if todo else "was done", f"{seconds:.1f}")
    console.print(table)


def _run_stage(job: Job, stage: Stage, pool: Pool, progress: Progress) -> int:
    """How many tasks there were to do."""
    done = 0
    for step in stage.steps:
        tasks = [task for task in range(step.tasks) if not step.is_done(job, task)]
        bar = progress.add_task(step.name, total=step.tasks, completed=step.tasks - len(tasks))
        for _ in pool.map(functools.partial(_run, job.folder, step.name, job.memory_bytes), tasks):
            progress.advance(bar)
        done += len(tasks)
    return done


def _run(folder: Path, step_name: str, memory_bytes: int, task: int) -> None:
    run_task(folder, step_name, task, memory_bytes)
