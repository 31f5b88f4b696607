"""A plant is a row of stages, a stage a row of steps, a step some tasks that do not know of each other.

A task can be done by any process that sees the work folder, and again at no harm: what it leaves there has its name only
when it is whole, and is the same bytes each time. A step begins when the one before it is done. How many tasks there are is
known when the run is planned.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from megalite.config.errors import DataError
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.prepare.plan import PlantPlan
from megalite.corpus.units.unit_books import noted, remembered, restored
from megalite.files.whole_file import whole_file
from megalite.jobs.notes import read_note
from megalite.jobs.work_folder import PLAN

Made = TypeVar("Made")


@dataclass(eq=False)
class Job:
    """A run, as a task sees it."""

    plan: PlantPlan
    folder: Path
    memory_bytes: int
    """That a task may take for what grows with the corpus."""
    _made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """Something large that the tasks of a process share."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


class Step(NamedTuple):
    """Tasks numbered from 0."""

    name: str
    tasks: int
    run: Callable[[Job, int], None]
    is_done: Callable[[Job, int], bool]


class Stage(NamedTuple):
    """Steps of which the last, one task, closes the books: ``NAME.json`` then says that all is done."""

    name: str
    steps: tuple[Step, ...]


def open_job(folder: Path, memory_bytes: int) -> Job:
    """The run whose work folder this is."""
    return _opened(folder, (folder / PLAN).read_text(), memory_bytes)


@lru_cache(maxsize=1)
def _opened(folder: Path, content: str, memory_bytes: int) -> Job:
    try:
        return Job(PlantPlan.model_validate_json(content), folder, memory_bytes)
    except ValueError:
        raise DataError(f"{folder / PLAN}: damaged, or of another version; remove {folder} and run again") from None


def books_path(job: Job, stage: str) -> Path:
    """The books of a stage; there when it is finished."""
    return job.folder / f"{stage}.json"


def is_finished(job: Job, stage: Stage) -> bool:
    """Whether nothing of the stage is left to do."""
    return books_path(job, stage.name).is_file()


def write_books(job: Job, stage: str, ledger: Ledger) -> None:
    """Close a stage."""
    with whole_file(books_path(job, stage)) as file:
        file.write(json.dumps(noted(ledger)).encode())


def read_books(job: Job, stage: str) -> Ledger:
    """What a finished stage did."""
    return read_note(books_path(job, stage), restored)


def is_written(stage: str) -> Callable[[Job, int], bool]:
    """For steps whose tasks end with :func:`megalite.corpus.units.unit_books.remember`."""
    return lambda job, task: remembered(job.folder / stage, task) is not None


def has_file(stage: str, pattern: str) -> Callable[[Job, int], bool]:
    """For steps whose tasks make one file."""
    return lambda job, task: (job.folder / stage / pattern.format(task)).is_file()
