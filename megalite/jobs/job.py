"""A job is a sequence of stages, a stage a sequence of steps, a step independent tasks.

Any process that sees the work folder can run a task, and running it twice does no harm: its files get their names only when
they are complete, and have the same bytes each time. A step starts when the one before it is done. The number of tasks is
known when the job is planned.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from megalite.config.errors import DataError
from megalite.jobs.work_folder import PLAN

KINDS = {
    "corpus": "megalite.corpus.prepare.stages",
    "scores": "megalite.corpus.prepare.dry_run",
    "dedup": "megalite.corpus.dedup.deduplicate",
    "decontaminate": "megalite.corpus.decontaminate.command",
    "tokens": "megalite.data.preprocess.job",
}
"""The module of each kind of job: its ``read_plan(text)`` gives a plan, its ``all_stages(plan)`` the stages."""
KIND = "kind"
"""The file in a work folder that names its kind."""

Plan = TypeVar("Plan")
Made = TypeVar("Made")


class Step(NamedTuple):
    """Tasks numbered from 0."""

    name: str
    tasks: int
    run: Callable[["Job[Any]", int], None]
    is_done: Callable[["Job[Any]", int], bool]


class Stage(NamedTuple):
    """Steps that run one after the other. A file ``NAME.json`` in the work folder marks the whole stage as finished."""

    name: str
    steps: tuple[Step, ...]


@dataclass(eq=False)
class Job(Generic[Plan]):
    """What a task gets."""

    plan: Plan
    stages: Sequence[Stage]
    folder: Path
    memory_bytes: int = 0
    """Limit for what a task holds in proportion to the corpus."""
    _cache: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """Return what ``make`` returned the first time in this process; for large objects that tasks share."""
        if name not in self._cache:
            self._cache[name] = make()
        made: Made = self._cache[name]
        return made

    def finished_path(self, stage: str) -> Path:
        """The file that exists once a stage is finished."""
        return self.folder / f"{stage}.json"

    def is_finished(self, stage: Stage) -> bool:
        """Whether nothing of the stage is left to do."""
        return self.finished_path(stage.name).is_file()

    def step(self, name: str) -> tuple[Stage, Step]:
        """Raises: DataError if the job has no step of this name."""
        found = {step.name: (stage, step) for stage in self.stages for step in stage.steps}
        if name not in found:
            raise DataError(f"{self.folder}: has no step '{name}'; its steps are {', '.join(found)}")
        return found[name]


def open_job(folder: Path, memory_bytes: int) -> Job[Any]:
    """The job of a work folder; one object per process and folder. Raises: DataError if the plan is damaged."""
    kind, plan = folder / KIND, folder / PLAN
    if not (kind.is_file() and plan.is_file()):
        raise DataError(f"{folder}: holds no plan; its run has ended, or the folder was cleared")
    job = _opened(folder, kind.read_text(), plan.read_text())
    job.memory_bytes = memory_bytes
    return job


@lru_cache(maxsize=2)
def _opened(folder: Path, kind: str, content: str) -> Job[Any]:
    try:
        module = importlib.import_module(KINDS[kind])
        plan = module.read_plan(content)
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / PLAN}: damaged, or of another version; remove {folder} and run again") from None
    return Job(plan, module.all_stages(plan), folder)


def forget_opened_jobs() -> None:
    """Drop what this process has cached of earlier jobs."""
    _opened.cache_clear()


def has_file(stage: str, pattern: str) -> Callable[[Job[Any], int], bool]:
    """``is_done`` for steps whose tasks make one file; ``pattern`` holds the task's number."""
    return lambda job, task: (job.folder / stage / pattern.format(task)).is_file()
