"""Reads a task file of the user: lm-eval's YAML, with ``data_files`` and ``include`` relative to the file."""

from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_yaml_file
from megalite.evaluation.fingerprint import sha256_of_file
from megalite.evaluation.tasks.requested_task import RequestedTask
from megalite.evaluation.tasks.sandbox import functions_are_refused


def requested_file(path: Path) -> RequestedTask:
    """A task file as an entry of ``--tasks``. Raises: FileNotFoundError, ConfigError, DataError."""
    task = read_task(path)
    files = _flat((task.get("dataset_kwargs") or {}).get("data_files", []))
    return RequestedTask(str(task["task"]), task, str(path), {name: sha256_of_file(Path(name)) for name in files})


def read_task(path: Path) -> dict[str, Any]:
    """A task file as a dict with absolute data files. Raises: FileNotFoundError, ConfigError, DataError."""
    task = _read(path, ())
    if "group" in task or "class" in task:
        key = "group" if "group" in task else "class"
        raise DataError(f"{path}: has a key '{key}'; give its folder with --include_path, and the task by name")
    if not isinstance(task.get("task"), str) or not task["task"].strip():
        raise DataError(f"{path}: is not an lm-eval task ('task' is {kind_of(task.get('task'))}, not its name)")
    return task


def _read(path: Path, inside: tuple[Path, ...]) -> dict[str, Any]:
    """One file, merged over the files that it includes, as lm-eval merges them."""
    if path.resolve() in inside:
        raise DataError(f"{path}: includes itself; remove the 'include'")
    try:
        task = read_yaml_file(path, "task file")
    except ConfigError as error:
        if "!function" in str(error):
            raise DataError(f"{path}: {functions_are_refused('...')}") from None
        raise
    if not isinstance(task, dict):
        raise DataError(f"{path}: is not an lm-eval task (it contains {kind_of(task)}, not keys)")
    if not all(isinstance(key, str) for key in task):
        raise DataError(f"{path}: a key is {kind_of(next(k for k in task if not isinstance(k, str)))}, not a name")
    source = task.get("dataset_path")
    if source is not None and not isinstance(source, str):
        raise DataError(f"{path}: dataset_path is {kind_of(source)}; give json, csv, or the name of a dataset")
    options = task.get("dataset_kwargs")
    if options is not None and not isinstance(options, dict):
        raise DataError(f"{path}: dataset_kwargs is {kind_of(options)}, not an object")
    if options and "data_files" in options:
        options["data_files"] = _absolute(options["data_files"], path, "data_files")
    included: dict[str, Any] = {}
    names = task.pop("include", [])
    for name in names if isinstance(names, list) else [names]:
        if not isinstance(name, str):
            raise DataError(f"{path}: include: {name!r} is not a file name")
        included |= _read(path.parent / name, (*inside, path.resolve()))
    return included | task


def _absolute(files: Any, task_file: Path, key: str) -> Any:
    """``data_files`` as ``datasets`` accepts it (a name, a list, or either by split), with absolute names."""
    if isinstance(files, dict):
        return {split: _absolute(names, task_file, f"{key}.{split}") for split, names in files.items()}
    if isinstance(files, list):
        return [_absolute(name, task_file, key) for name in files]
    if not isinstance(files, str):
        raise DataError(f"{task_file}: {key}: {files!r} is not a file name")
    file = (task_file.parent / files).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"{task_file}: {key}: {file} does not exist; check the name")
    if file.stat().st_size == 0:
        raise DataError(f"{task_file}: {key}: {file} is empty; there is nothing to evaluate")
    return str(file)


def _flat(files: Any) -> list[str]:
    if isinstance(files, dict):
        return [name for inner in files.values() for name in _flat(inner)]
    return [name for inner in files for name in _flat(inner)] if isinstance(files, list) else [files]
