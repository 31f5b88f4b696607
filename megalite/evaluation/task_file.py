"""A task file of the user's own: lm-eval's YAML, with data files relative to it."""

from pathlib import Path
from typing import Any

import yaml

from megalite.config.errors import DataError


def read_task(path: Path) -> dict[str, Any]:
    """A task file as a dict with absolute data files. Raises: FileNotFoundError, DataError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such task file")
    try:
        task = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(task, dict) or "task" not in task:
        raise DataError(f"{path}: is no lm-eval task (it has no key 'task')")
    options = task.get("dataset_kwargs") or {}
    if "data_files" in options:
        options["data_files"] = _absolute(options["data_files"], path, "data_files")
    return task


def _absolute(files: Any, task_file: Path, where: str) -> Any:
    """``data_files`` as ``datasets`` takes it (a name, a list, or either by split) with the names made absolute."""
    if isinstance(files, dict):
        return {split: _absolute(names, task_file, f"{where}.{split}") for split, names in files.items()}
    if isinstance(files, list):
        return [_absolute(name, task_file, where) for name in files]
    if not isinstance(files, str):
        raise DataError(f"{task_file}: {where}: {files!r} is not the name of a file")
    file = (task_file.parent / files).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"{task_file}: {where}: {file} is missing")
    if file.stat().st_size == 0:
        raise DataError(f"{task_file}: {where}: {file} is empty; there is nothing to evaluate")
    return str(file)
