"""Writes a benchmark from local data files as an lm-eval task.

``OUTPUT/tasks`` gets a task file and its records for each benchmark, so lm-eval's own command
``lm_eval run --include_path OUTPUT/tasks --tasks NAME`` measures the same.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from megalite.config.errors import DataError
from megalite.config.suggest import suggestion
from megalite.evaluation.fingerprint import sha256_of_file
from megalite.evaluation.tasks.benchmarks import BENCHMARKS, PARADIGM, TASK_FILES
from megalite.evaluation.tasks.data_files import LocalData, SplitFiles, find_split_files, read_benchmark
from megalite.evaluation.tasks.record_forms import Record
from megalite.evaluation.tasks.requested_task import RequestedTask
from megalite.files.whole_file import whole_file


def write_local_benchmark(name: str, data: LocalData, output: Path, num_fewshot: int | None = None) -> RequestedTask:
    """Read a benchmark's data files, and write its task file and records to ``output``.

    Raises: FileNotFoundError, DataError.
    """
    benchmark = "blimp" if name.startswith(PARADIGM) else name
    found = find_split_files(benchmark, data)
    hashes = {str(path): sha256_of_file(path) for paths in found.files.values() for path in paths}
    source = ", ".join(str(path) for path in found.files[found.evaluated])
    if benchmark == "blimp":
        return RequestedTask(name, name, source, hashes, _write_paradigms(name, found, output))
    for split, paths in found.files.items():
        _write_records(output / f"{name}.{split}.jsonl", read_benchmark(name, paths), paths[0])
    shipped = shipped_task(name)
    task: dict[str, Any] = {"include": str(TASK_FILES / f"{name}.yaml"), "task": name}
    task |= _splits(shipped, name, found, output)
    notes = []
    if found.evaluated != (published := BENCHMARKS[name].splits[0]):
        notes.append(f"measured on the {found.evaluated} split; published figures use the {published} split")
    fixed = shipped.get("num_fewshot")
    shots = (
        fixed if num_fewshot is None or fixed == 0 else num_fewshot
    )  # lm-eval does not override a 0 of the task file
    if shots and set(found.files) == {found.evaluated}:
        notes.append("the examples come from the evaluated file itself; there is no train file")
    _write_yaml(output / f"{name}.yaml", task)
    return RequestedTask(name, name, source, hashes, tuple(notes))


def shipped_task(name: str) -> dict[str, Any]:
    """The shipped task file of a benchmark, with functions as their names."""
    task = yaml.load((TASK_FILES / f"{name}.yaml").read_text(), Loader=_NoFunctions)
    return shipped_task(Path(task["include"]).stem) | task if "include" in task else task


class _NoFunctions(yaml.SafeLoader):
    pass


_NoFunctions.add_constructor("!function", lambda loader, node: node.value)


def _splits(shipped: dict[str, Any], name: str, found: SplitFiles, output: Path) -> dict[str, Any]:
    """The data files; splits of the task file that have none are set to None."""
    names = {key: shipped.get(key) for key in ("training_split", "validation_split", "test_split", "fewshot_split")}
    data_files = {split: str((output / f"{name}.{split}.jsonl").resolve()) for split in found.files}
    changed: dict[str, str | None] = {key: None for key, split in names.items() if split and split not in found.files}
    if changed and set(found.files) == {"test"}:
        changed["fewshot_split"] = "test"  # lm-eval excludes an item from its own examples only if this split is named
    return {"dataset_kwargs": {"data_files": data_files}} | changed


def _write_paradigms(name: str, found: SplitFiles, output: Path) -> tuple[str, ...]:
    """Writes one task per paradigm and their group, or the requested paradigm alone. Returns the notes."""
    paradigms: dict[str, list[Record]] = {}
    for record in read_benchmark("blimp", found.files[found.evaluated]):
        paradigms.setdefault(record.pop("UID"), []).append(record)
    requested = name.removeprefix(PARADIGM) if name != "blimp" else None
    if requested is not None and requested not in paradigms:
        known = [PARADIGM + uid for uid in sorted(paradigms)]
        hint = suggestion(name, known, f"they contain {', '.join(known)}")
        raise DataError(f"--tasks {name}: the BLiMP files have no such paradigm; {hint}")
    for uid in sorted(paradigms) if requested is None else [requested]:
        path = output / f"{PARADIGM}{uid}.{found.evaluated}.jsonl"
        _write_records(path, paradigms[uid], found.files[found.evaluated][0])
        data_files = {found.evaluated: str(path.resolve())}
        task = {"include": str(TASK_FILES / "blimp.yaml"), "task": PARADIGM + uid}
        _write_yaml(output / f"{PARADIGM}{uid}.yaml", task | {"dataset_kwargs": {"data_files": data_files}})
    if requested is not None:
        return ()
    mean = {"metric": "acc", "aggregation": "mean", "weight_by_size": False}
    group = {"group": "blimp", "task": [PARADIGM + uid for uid in sorted(paradigms)], "aggregate_metric_list": [mean]}
    _write_yaml(output / "blimp.yaml", group | {"metadata": {"version": 2.0}})
    return (f"mean of {len(paradigms)} paradigms; BLiMP has 67",) if len(paradigms) != 67 else ()


def _write_records(path: Path, records: Iterable[Record], source: Path) -> None:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    if not lines:
        raise DataError(f"{source}: is empty; there is nothing to evaluate")
    _write_text(path, "".join(lines))


def _write_yaml(path: Path, task: dict[str, Any]) -> None:
    _write_text(path, yaml.safe_dump(task, sort_keys=False))


def _write_text(path: Path, text: str) -> None:
    """Writes only if the content differs: the modification time is the key of ``datasets``' cache."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with whole_file(path) as file:
        file.write(text.encode())
