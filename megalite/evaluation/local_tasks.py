"""What ``--tasks`` asks for: task files, benchmarks from local data, or names of the hub; local ones are written down.

``OUTPUT/tasks`` then holds an lm-eval task file and its records for each local benchmark, so that lm-eval's own
``lm_eval run --include_path OUTPUT/tasks --tasks NAME`` measures the same.
"""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from megalite.config.errors import ConfigError, DataError
from megalite.evaluation.benchmarks import BENCHMARKS, PARADIGM, TAGS, TASK_FILES
from megalite.evaluation.data_files import SplitFiles, find_split_files, read_benchmark
from megalite.evaluation.json_output import sha256_of_file
from megalite.evaluation.record_forms import Record
from megalite.evaluation.task_file import read_task
from megalite.files.whole_file import whole_file


@dataclass(frozen=True)
class AskedTask:
    """One entry of ``--tasks``."""

    name: str
    spec: Any
    """What lm-eval loads: a name, or a task file as a dict."""
    source: str
    """``hub``, or the task file, or the data files in words."""
    files: dict[str, str] = field(default_factory=dict)
    """Local data files and their sha256."""
    notes: tuple[str, ...] = ()
    """What a reader must know to compare the figure with others'."""


def asked_names(names: Sequence[str]) -> list[str]:
    """Tags of local benchmarks taken apart, each name once."""
    return list(dict.fromkeys(member for name in names for member in TAGS.get(name, (name,))))


def is_file(name: str) -> bool:
    """Whether a name is a task file's."""
    return name.endswith((".yaml", ".yml"))


def is_local(name: str, folders: Sequence[Path], given: dict[str, list[str]]) -> bool:
    """Whether a name is a benchmark to be read from local data."""
    benchmark = "blimp" if name.startswith(PARADIGM) else name
    return benchmark in BENCHMARKS and (bool(folders) or benchmark in given)


def check_task_names(names: list[str], manager: Any) -> None:
    """Refuse a task, group or tag that lm-eval does not have. Raises: DataError."""
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"did you mean '{near[0]}'" if near else "give one of its names or a task file ending in .yaml"
            raise DataError(f"--tasks {name}: lm-eval has no such task; {hint}")


def check_written(names: Iterable[str], manager: Any, output: Path) -> None:
    """Refuse a folder of written tasks in which another file takes the name of one of them. Raises: DataError."""
    for name in names:
        path = manager.task_index[name].yaml_path
        if path is None or path.resolve() != (output / f"{name}.yaml").resolve():
            raise DataError(f"{path}: also calls itself '{name}'; remove it from {output}, or choose another --output")


def given_files(pairs: Sequence[str]) -> dict[str, list[str]]:
    """``NAME=FILE`` words by name. Raises: ConfigError."""
    given: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or name not in BENCHMARKS:
            raise ConfigError(f"--data_file {pair}: give NAME=FILE with NAME one of {', '.join(BENCHMARKS)}")
        given.setdefault(name, []).append(path)
    return given


def write_local_task(
    name: str, folders: Sequence[Path], given: dict[str, list[str]], output: Path, num_fewshot: int | None = None
) -> AskedTask:
    """Read a benchmark's data files and write its task file and records under ``output``.

    Raises: FileNotFoundError, DataError.
    """
    benchmark = "blimp" if name.startswith(PARADIGM) else name
    found = find_split_files(benchmark, folders, given.get(benchmark, ()))
    hashes = {str(path): sha256_of_file(path) for paths in found.files.values() for path in paths}
    source = ", ".join(str(path) for path in found.files[found.evaluated])
    if benchmark == "blimp":
        return AskedTask(name, name, source, hashes, _write_paradigms(name, found, output))
    for split, paths in found.files.items():
        _write_records(output / f"{name}.{split}.jsonl", read_benchmark(name, paths), paths[0])
    shipped = _shipped(name)
    task: dict[str, Any] = {"include": str(TASK_FILES / f"{name}.yaml"), "task": name}
    task |= _splits(shipped, name, found, output)
    notes = []
    if found.evaluated != BENCHMARKS[name].splits[0]:
        notes.append(
            f"measured on the {found.evaluated} split; published figures take the {BENCHMARKS[name].splits[0]} split"
        )
    fixed = shipped.get("num_fewshot")
    shots = fixed if num_fewshot is None or fixed == 0 else num_fewshot  # lm-eval lets a 0 of the task file stand
    if shots and set(found.files) == {found.evaluated}:
        notes.append("the examples come from the evaluated file itself; there is no train file")
    _write_yaml(output / f"{name}.yaml", task)
    return AskedTask(name, name, source, hashes, tuple(notes))


def _shipped(name: str) -> dict[str, Any]:
    """The shipped task file of a benchmark, its functions left unread."""
    task = yaml.load((TASK_FILES / f"{name}.yaml").read_text(), Loader=_Plain)
    return _shipped(Path(task["include"]).stem) | task if "include" in task else task


def _splits(shipped: dict[str, Any], name: str, found: SplitFiles, output: Path) -> dict[str, Any]:
    """The data files, and the splits that the task file names but nobody has, taken back."""
    names = {key: shipped.get(key) for key in ("training_split", "validation_split", "test_split", "fewshot_split")}
    data_files = {split: str((output / f"{name}.{split}.jsonl").resolve()) for split in found.files}
    changed: dict[str, str | None] = {key: None for key, split in names.items() if split and split not in found.files}
    if changed and set(found.files) == {"test"}:
        changed["fewshot_split"] = "test"  # lm-eval keeps an item out of its own examples only where the split is named
    return {"dataset_kwargs": {"data_files": data_files}} | changed


class _Plain(yaml.SafeLoader):
    """Reads a task file without looking up its functions."""


_Plain.add_constructor("!function", lambda loader, node: node.value)


def _write_paradigms(name: str, found: SplitFiles, output: Path) -> tuple[str, ...]:
    """A task for each paradigm (or the one asked for), and the group of them."""
    paradigms: dict[str, list[Record]] = {}
    for record in read_benchmark("blimp", found.files[found.evaluated]):
        paradigms.setdefault(record.pop("UID"), []).append(record)
    asked = name.removeprefix(PARADIGM) if name != "blimp" else None
    if asked is not None and asked not in paradigms:
        near = difflib.get_close_matches(asked, paradigms, n=1)
        hint = f"did you mean '{PARADIGM}{near[0]}'" if near else f"they hold {', '.join(sorted(paradigms))}"
        raise DataError(f"--tasks {name}: the BLiMP files have no such paradigm; {hint}")
    for uid in sorted(paradigms) if asked is None else [asked]:
        path = output / f"{PARADIGM}{uid}.{found.evaluated}.jsonl"
        _write_records(path, paradigms[uid], found.files[found.evaluated][0])
        data_files = {found.evaluated: str(path.resolve())}
        task = {"include": str(TASK_FILES / "blimp.yaml"), "task": PARADIGM + uid}
        _write_yaml(output / f"{PARADIGM}{uid}.yaml", task | {"dataset_kwargs": {"data_files": data_files}})
    if asked is not None:
        return ()
    mean = {"metric": "acc", "aggregation": "mean", "weight_by_size": False}
    group = {"group": "blimp", "task": [PARADIGM + uid for uid in sorted(paradigms)], "aggregate_metric_list": [mean]}
    _write_yaml(output / "blimp.yaml", group | {"metadata": {"version": 2.0}})
    return (f"the mean of {len(paradigms)} paradigms; all of BLiMP has 67",) if len(paradigms) != 67 else ()


def _write_records(path: Path, records: Iterable[Record], source: Path) -> None:
    """Raises: DataError where there is no record."""
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    if not lines:
        raise DataError(f"{source}: is empty; there is nothing to evaluate")
    _write_text(path, "".join(lines))


def _write_yaml(path: Path, task: dict[str, Any]) -> None:
    _write_text(path, yaml.safe_dump(task, sort_keys=False))


def _write_text(path: Path, text: str) -> None:
    """Written only where it says something else, so that a second run leaves the file's time and ``datasets``' cache."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with whole_file(path) as file:
        file.write(text.encode())


def file_task(path: Path) -> AskedTask:
    """A task file of the user's. Raises: FileNotFoundError, DataError."""
    task = read_task(path)
    files = _flat((task.get("dataset_kwargs") or {}).get("data_files", []))
    return AskedTask(str(task["task"]), task, str(path), {name: sha256_of_file(Path(name)) for name in files})


def _flat(files: Any) -> list[str]:
    if isinstance(files, dict):
        return [name for inner in files.values() for name in _flat(inner)]
    return [name for inner in files for name in _flat(inner)] if isinstance(files, list) else [files]
