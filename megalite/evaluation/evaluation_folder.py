"""The output folder of an evaluation: the request, each finished (model, task) pair, and the answers of unfinished ones.

::

    OUTPUT/evaluation.json              options, models and tasks, each with the hash of its content
    OUTPUT/tasks/                       task files and records of local benchmarks, for lm-eval's own command too
    OUTPUT/MODEL/TASK.json, .jsonl      a finished pair: figures, and one line per item
    OUTPUT/MODEL/TASK.answers-0.jsonl   the answers of an unfinished pair; removed when the pair is finished
    OUTPUT/results.json, results.html   all pairs

Later commands may add models and tasks. Other options, or other content under the same name, are refused.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_json_object
from megalite.evaluation.fingerprint import content_hash
from megalite.evaluation.measure.journal import Journal, parse_line
from megalite.files.json_file import write_json
from megalite.files.whole_file import whole_file

STATE = "evaluation.json"
PAIR = ("results", "group_subtasks", "higher_is_better", "n-shot", "chance")
"""Keys of a finished pair whose values are objects."""


class EvaluationFolder:
    """Holds what is measured already; only missing pairs are measured."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        """Raises: ConfigError if the folder was made with other options, DataError if it is not an evaluation."""
        self.path = path
        self.state: dict[str, Any] = {"options": options, "models": {}, "tasks": {}}
        if path.is_file():
            raise DataError(f"{path}: is a file, not a folder; choose another --output")
        if (path / STATE).is_file():
            self.state = _read(path / STATE, ("options", "models", "tasks"))
            for kind in ("models", "tasks"):
                for name, facts in self.state[kind].items():
                    if not isinstance(facts, dict) or not isinstance(facts.get("fingerprint"), str):
                        raise DataError(
                            f"{path / STATE}: damaged: {kind}.{name} has no fingerprint; choose another --output"
                        )
            for name, value in options.items():
                if (was := self.state["options"].get(name)) != value:
                    raise ConfigError(f"{path}: was measured with {name}={was}, not {value}; choose another --output")
        elif path.is_dir() and any(entry.name != "tasks" for entry in path.iterdir()):
            raise DataError(
                f"{path}: exists and is not an evaluation (it contains no {STATE}); choose another --output"
            )

    def add(self, kind: str, name: str, facts: dict[str, Any]) -> None:
        """Add a model or a task. Raises: ConfigError if its content differs from what was measured under this name."""
        known = self.state[kind].setdefault(name, facts)
        if known["fingerprint"] != facts["fingerprint"]:
            raise ConfigError(f"{name}: has changed since it was measured in {self.path}; choose another --output")

    def save(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        for name in self.state["models"]:
            self._model_folder(name).mkdir(exist_ok=True)
        write_json(self.path / STATE, self.state)

    def discard_if_empty(self) -> None:
        """Undo ``save`` if no model has answered anything yet, so that the folder can be used with other options."""
        folders = [self._model_folder(name) for name in self.state["models"]]
        if any(any(folder.iterdir()) for folder in folders if folder.is_dir()):
            return
        (self.path / STATE).unlink(missing_ok=True)
        for folder in (*folders, self.path):
            with contextlib.suppress(OSError):  # contains the tasks, or does not exist
                folder.rmdir()

    def finished(self, model: str, task: str) -> bool:
        return self._file(model, task, ".json").is_file()

    def journal(self, model: str, task: str, rank: int) -> Journal:
        return Journal(self._file(model, task, ""), rank)

    def finish(self, model: str, task: str, result: dict[str, Any], items: Iterable[dict[str, Any]]) -> None:
        """Write a pair. The items come first: figures never exist without them."""
        path = self._file(model, task, ".jsonl")
        with whole_file(path) as file:
            file.writelines(json.dumps(item, ensure_ascii=False, default=str).encode() + b"\n" for item in items)
        write_json(self._file(model, task, ".json"), result)

    def result(self, model: str, task: str) -> dict[str, Any]:
        return _read(self._file(model, task, ".json"), PAIR)

    def items(self, model: str, task: str) -> list[dict[str, Any]]:
        path, items = self._file(model, task, ".jsonl"), []
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                item = parse_line(line, f"{path}:{number}")
                if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("task", "filter")):
                    raise DataError(f"{path}:{number}: damaged: not an item; choose another --output")
                items.append(item)
        return items

    def _file(self, model: str, task: str, suffix: str) -> Path:
        return self._model_folder(model) / f"{_slug(task)}{suffix}"

    def _model_folder(self, model: str) -> Path:
        return self.path / f"{_slug(model)}-{self.state['models'][model]['fingerprint'][:8]}"


def _slug(name: str) -> str:
    """A readable file name, with a hash if the name had to be changed."""
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:]
    return readable if readable == name else f"{readable}-{content_hash(name)[:6]}"


def _read(path: Path, objects: Sequence[str]) -> dict[str, Any]:
    """A JSON object whose values under ``objects`` are objects. Raises: DataError."""
    try:
        found = read_json_object(path)
    except ConfigError as error:
        raise DataError(f"{error}; choose another --output") from None
    for key in objects:
        if not isinstance(found.get(key), dict):
            raise DataError(
                f"{path}: damaged: '{key}' is {kind_of(found.get(key))}, not an object; choose another --output"
            )
    return found
