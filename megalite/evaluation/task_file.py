"""A task file of the user's own: lm-eval's YAML, with data files and ``include`` relative to it."""

from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_yaml_file
from megalite.evaluation.task_code import functions_are_not_run


def read_task(path: Path) -> dict[str, Any]:
    """A task file as a dict with absolute data files. Raises: FileNotFoundError, ConfigError, DataError."""
    task = _read(path, ())
    if "group" in task or "class" in task:
        key = "group" if "group" in task else "class"
        raise DataError(f"{path}: has a key '{key}'; name its folder by --include_path, and the task by its name")
    if not isinstance(task.get("task"), str) or not task["task"].strip():
        raise DataError(f"{path}: is no lm-eval task ('task' is {kind_of(task.get('task'))}, not its name)")
    return task


def _read(path: Path, inside: tuple[Path, ...]) -> dict[str, Any]:
    """One file over those that it includes, as lm-eval merges them."""
    if path.resolve() in inside:
        raise DataError(f"{path}: includes itself; remove the 'include'")
    try:
        task = read_yaml_file(path, "task file")
    except ConfigError as error:
        if "!function" in str(error):
            raise DataError(f"{path}: {functions_are_not_run('...')}") from None
        raise
    if not isinstance(task, dict):
        raise DataError(f"{path}: is no lm-eval task (it holds {kind_of(task)}, not keys)")
    if not all(isinstance(key, str) for key in task):
        raise DataError(f"{path}: a key is {kind_of(next(k for k in task if not isinstance(k, str)))}, not a name")
    source = task.get("dataset_path")
    if source is not None and not isinstance(source, str):
        raise DataError(f"{path}: dataset_path is {kind_of(source)}; give json, csv, or a data set's name")
    options = task.get("dataset_kwargs")
    if options is not None and not isinstance(options, dict):
        raise DataError(f"{path}: dataset_kwargs is {kind_of(options)}, not an object")
    if options and "data_files" in options:
        options["data_files"] = _absolute(options["data_files"], path, "data_files")
    included: dict[str, Any] = {}
    names = task.pop("include", [])
    for name in names if isinstance(names, list) else [names]:
        if not isinstance(name, str):
            raise DataError(f"{path}: include: {name!r} is not the name of a file")
        included |= _read(path.parent / name, (*inside, path.resolve()))
    return included | task


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
        raise FileNotFoundError(f"{task_file}: {where}: {file} is missing; check the name")
    if file.stat().st_size == 0:
        raise DataError(f"{task_file}: {where}: {file} is empty; there is nothing to evaluate")
    return str(file)
