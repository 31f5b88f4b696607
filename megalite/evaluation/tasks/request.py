"""Resolves ``--tasks``: task files, benchmarks from local data, and lm-eval's own tasks with data from the hub."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.config.suggest import suggestion
from megalite.evaluation.tasks.benchmarks import TAGS
from megalite.evaluation.tasks.checks import check_task_keys
from megalite.evaluation.tasks.data_files import LocalData
from megalite.evaluation.tasks.hub import go_offline, hub_answers
from megalite.evaluation.tasks.local_benchmark import write_local_benchmark
from megalite.evaluation.tasks.requested_task import RequestedTask
from megalite.evaluation.tasks.sandbox import guard_tasks
from megalite.evaluation.tasks.task_file import read_task, requested_file
from megalite.huggingface.quiet_libraries import quiet_libraries

LOCAL_FORMATS = ("json", "csv", "parquet", "arrow", "text", "pandas")
"""Formats that ``datasets`` reads from ``data_files`` without the hub."""


def request_tasks(
    names: Sequence[str],
    data: LocalData | None = None,
    written: Path | None = None,
    include_path: str | None = None,
    num_fewshot: int | None = None,
) -> tuple[list[RequestedTask], Any]:
    """The requested tasks, and the lm-eval task manager that loads them.

    Args:
        data: where the data of local benchmarks is.
        written: the folder that gets the task files of local benchmarks.
        include_path: a folder of the user's task files, whose Python functions may run.
        num_fewshot: number of examples; it decides some of the notes.

    Raises: DataError, FileNotFoundError.
    """
    names, data = _expand_tags(names), data or LocalData()
    local = {name for name in names if not _is_file(name) and data.covers(name)}
    hub = [name for name in names if not _is_file(name) and name not in local]
    trusted = _trusted_folders(include_path)
    quiet_libraries()
    guard_tasks(trusted)
    requested = {name: requested_file(Path(name)) for name in names if _is_file(name)}
    for task in requested.values():
        check_task_keys(task.spec, task.source)
    if written is not None and local:
        written.mkdir(parents=True, exist_ok=True)
        requested |= {name: write_local_benchmark(name, data, written, num_fewshot) for name in names if name in local}
    from lm_eval.tasks import TaskManager

    paths: list[str | Path] = [*trusted, *([written] if written is not None and local else [])]
    manager = TaskManager(include_path=paths, include_defaults=False)
    if not all(name in manager.all_subtasks for name in hub):
        manager = TaskManager(include_path=paths)  # parses lm-eval's thousands of task files
    check_task_names([*hub, *local], manager)
    if written is not None:
        _check_written(local, manager, written)
    requested |= {name: RequestedTask(name, name, "hub") for name in hub}
    return [requested[name] for name in names], manager


def choose_network(models: Sequence[str], names: Sequence[str], data: LocalData) -> None:
    """Go offline if nothing is needed from the hub, or if the hub does not answer.

    Call this before ``huggingface_hub`` is imported. It reads its environment variables once, and retries for minutes
    if there is no network.

    Raises: FileNotFoundError, DataError for a task file.
    """
    files = [read_task(Path(name)) for name in names if _is_file(name)]
    named = [name for name in _expand_tags(names) if not _is_file(name) and not data.covers(name)]
    needed = any(not Path(model).exists() for model in models) or bool(named) or any(map(_needs_hub, files))
    if not (needed and hub_answers()):
        go_offline()


def check_task_names(names: Sequence[str], manager: Any) -> None:
    """Refuse a task, group or tag that lm-eval does not have. Raises: DataError."""
    for name in names:
        if name not in manager.all_tasks:
            hint = suggestion(name, manager.all_tasks, "give one of its names or a task file ending in .yaml")
            raise DataError(f"--tasks {name}: lm-eval has no such task; {hint}")


def _expand_tags(names: Sequence[str]) -> list[str]:
    """Tags of local benchmarks replaced by their members, without duplicates."""
    return list(dict.fromkeys(member for name in names for member in TAGS.get(name, (name,))))


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _needs_hub(task: dict[str, Any]) -> bool:
    path = task.get("dataset_path")
    return path is not None and path not in LOCAL_FORMATS and not Path(path).exists()


def _check_written(names: Iterable[str], manager: Any, output: Path) -> None:
    """Refuse a folder of written tasks in which another file uses one of their names. Raises: DataError."""
    for name in names:
        path = manager.task_index[name].yaml_path
        if path is None or path.resolve() != (output / f"{name}.yaml").resolve():
            raise DataError(f"{path}: also defines '{name}'; remove it from {output}, or choose another --output")


def _trusted_folders(include_path: str | None) -> list[Path]:
    if include_path is None:
        return []
    folder = Path(include_path)
    if not folder.is_dir():
        raise FileNotFoundError(f"--include_path {include_path}: no such folder; check the path")
    if not any(folder.glob("**/*.yaml")):
        raise DataError(f"--include_path {include_path}: contains no task file (.yaml); give a folder with task files")
    return [folder]
