"""lm-eval's benchmarks on a Hugging Face folder, by task name or from a local task file."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from megalite.config.errors import DataError, one_line_errors
from megalite.evaluation.hf_folder import check_model_folder, quiet_libraries


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
    results = evaluate(a.model, a.tasks, a.num_fewshot, a.limit, a.batch_size)
    print_results(results, a.model, Console(soft_wrap=True))
    if a.output:
        a.output.write_text(json.dumps(results, indent=2) + "\n")


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

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "auto" if device == "cuda" else "float32"
    wrapped = HFLM(pretrained=model, device=device, dtype=dtype, batch_size=batch_size)
    given: list[Any] = [task if task is not None else name for name, task in zip(tasks, local, strict=True)]
    found = lm_eval.simple_evaluate(
        model=wrapped, tasks=given, num_fewshot=num_fewshot, limit=limit, bootstrap_iters=1000, verbosity="ERROR"
    )
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
    files = (task.get("dataset_kwargs") or {}).get("data_files") or {}
    for split, name in files.items():
        file = (path.parent / name).resolve()
        if not file.is_file():
            raise FileNotFoundError(f"{path}: data_files.{split}: {file} is missing")
        files[split] = str(file)
    return task


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
