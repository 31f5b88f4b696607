"""lm-eval's benchmarks on a Hugging Face folder, by task name or from a local task file."""

import argparse
import difflib
import os
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.evaluation.hf_folder import check_model_folder, loading, quiet_libraries
from megalite.evaluation.json_output import check_json_output, write_json


@one_line_errors
def main() -> None:
    """``tools/evaluate.py``."""
    parser = argparse.ArgumentParser(description="Run lm-eval tasks on a Hugging Face model.")
    parser.add_argument("model", help="a Hugging Face folder, or a name of the hub")
    parser.add_argument("--tasks", nargs="+", required=True, metavar="NAME|FILE.yaml")
    parser.add_argument("--num_fewshot", type=int)
    parser.add_argument("--limit", type=int, help="items of each task")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    a = parser.parse_args()
    check_json_output(a.output)
    for name in ("limit", "batch_size"):
        if getattr(a, name) is not None and getattr(a, name) < 1:
            raise ConfigError(f"--{name} {getattr(a, name)}: give at least 1")
    results = evaluate(a.model, a.tasks, a.num_fewshot, a.limit, a.batch_size)
    print_results(results, a.model, Console(soft_wrap=True))
    if a.output:
        write_json(a.output, results)


def evaluate(
    model: str, tasks: list[str], num_fewshot: int | None = None, limit: int | None = None, batch_size: int = 8
) -> dict[str, dict[str, Any]]:
    """Task -> metric -> value, as lm-eval reports them (``acc,none`` and its standard error).

    Local task files are read without the network; ``data_files`` in them are relative to the file.

    Raises: DataError, FileNotFoundError before the model is loaded.
    """
    check_model_folder(model)
    local = [read_task(Path(task)) if task.endswith((".yaml", ".yml")) else None for task in tasks]
    if all(task is not None for task in local):
        for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            os.environ.setdefault(variable, "1")
    quiet_libraries()
    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    check_task_names([name for name, task in zip(tasks, local, strict=True) if task is None], manager)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "auto" if device == "cuda" else "float32"
    with loading(model):
        wrapped = HFLM(pretrained=model, device=device, dtype=dtype, batch_size=batch_size)
    given: list[Any] = [task if task is not None else name for name, task in zip(tasks, local, strict=True)]
    try:
        found = lm_eval.simple_evaluate(
            model=wrapped,
            tasks=given,
            num_fewshot=num_fewshot,
            limit=limit,
            bootstrap_iters=1000,
            task_manager=manager,
            verbosity="ERROR",
        )
    except ConnectionError as error:
        raise DataError(f"{' '.join(tasks)}: {error}; without a network, give a task file over local data") from None
    return {name: _plain(metrics) for name, metrics in found["results"].items()}


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


def check_task_names(names: list[str], manager: Any) -> None:
    """Refuse a task, group or tag that lm-eval does not have. Raises: DataError."""
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"did you mean '{near[0]}'" if near else "give one of its names or a task file ending in .yaml"
            raise DataError(f"--tasks {name}: lm-eval has no such task; {hint}")


def print_results(results: dict[str, dict[str, Any]], model: str, console: Console) -> None:
    """One row a metric, with its standard error."""
    table = Table("task", "metric", "value", "standard error", title=model, title_justify="left")
    for task, metrics in results.items():
        for metric, value in metrics.items():
            if isinstance(value, float) and "_stderr" not in metric:
                error = metrics.get(metric.replace(",", "_stderr,", 1))
                shown = f"± {error:.4f}" if isinstance(error, float) else ""
                table.add_row(task, metric.removesuffix(",none"), f"{value:.4f}", shown)
    console.print(table)


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    """Numbers as Python's own, so that they go into JSON."""
    return {key: value.item() if hasattr(value, "item") else value for key, value in metrics.items()}
