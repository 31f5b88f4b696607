"""The folder of an evaluation: what was asked, each finished (model, task) pair, and the answers of unfinished ones.

::

    OUTPUT/evaluation.json              options, models and tasks, each with the hash of its content
    OUTPUT/tasks/                       task files and records of local benchmarks, for lm-eval's own command too
    OUTPUT/MODEL/TASK.json, .jsonl      a finished pair: figures, and one line an item
    OUTPUT/MODEL/TASK.answers-0.jsonl   what an unfinished pair has so far; goes when the pair is finished
    OUTPUT/results.json, results.html   all pairs

More models and tasks may be added by later commands; another option, or other content under the same name, is refused.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_json_object
from megalite.evaluation.journal import Journal, parse_line
from megalite.evaluation.json_output import content_hash, write_json
from megalite.files.whole_file import whole_file

STATE = "evaluation.json"
PAIR = ("results", "group_subtasks", "higher_is_better", "n-shot", "chance")
"""What is an object in the figures of a pair."""


class EvaluationFolder:
    """Finished pairs are read from here, and not measured again."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        """Raises: ConfigError where the folder is of another evaluation, DataError where it is none."""
        self.path = path
        self.state: dict[str, Any] = {"options": options, "models": {}, "tasks": {}}
        if path.is_file():
            raise DataError(f"{path}: is a file, and a folder is to be written; choose another --output")
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
            raise DataError(f"{path}: exists and is no evaluation (no {STATE} in it); choose another --output")

    @property
    def tasks_folder(self) -> Path:
        """Where local benchmarks are written."""
        return self.path / "tasks"

    def ask(self, kind: str, name: str, facts: dict[str, Any]) -> None:
        """Take in a model or a task. Raises: ConfigError where the name stands for other content already."""
        known = self.state[kind].setdefault(name, facts)
        if known["fingerprint"] != facts["fingerprint"]:
            raise ConfigError(f"{name}: has changed since it was measured in {self.path}; choose another --output")

    def save(self) -> None:
        """Write down what was asked."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in self.state["models"]:
            self._model_folder(name).mkdir(exist_ok=True)
        write_json(self.path / STATE, self.state)

    def forget_unmeasured(self) -> None:
        """Remove what ``save`` has written where no model has answered anything yet; then the folder is free again."""
        folders = [self._model_folder(name) for name in self.state["models"]]
        if any(any(folder.iterdir()) for folder in folders if folder.is_dir()):
            return
        (self.path / STATE).unlink(missing_ok=True)
        for folder in (*folders, self.path):
            with contextlib.suppress(OSError):  # holds the tasks, or is not there
                folder.rmdir()

    def finished(self, model: str, task: str) -> bool:
        """Whether the pair needs no more work."""
        return self._file(model, task, ".json").is_file()

    def journal(self, model: str, task: str, rank: int) -> Journal:
        """The answers that the pair has so far."""
        return Journal(self._file(model, task, ""), rank)

    def finish(self, model: str, task: str, result: dict[str, Any], items: Iterable[dict[str, Any]]) -> None:
        """Write a pair: the items first, so that a result is never without them."""
        path = self._file(model, task, ".jsonl")
        with whole_file(path) as file:
            file.writelines(json.dumps(item, ensure_ascii=False, default=str).encode() + b"\n" for item in items)
        write_json(self._file(model, task, ".json"), result)

    def result(self, model: str, task: str) -> dict[str, Any]:
        """The figures of a finished pair."""
        return _read(self._file(model, task, ".json"), PAIR)

    def items(self, model: str, task: str) -> list[dict[str, Any]]:
        """The items of a finished pair."""
        path, items = self._file(model, task, ".jsonl"), []
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                item = parse_line(line, f"{path}:{number}")
                if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("task", "filter")):
                    raise DataError(f"{path}:{number}: damaged: is no item; choose another --output")
                items.append(item)
        return items

    def _file(self, model: str, task: str, suffix: str) -> Path:
        return self._model_folder(model) / f"{_slug(task)}{suffix}"

    def _model_folder(self, model: str) -> Path:
        return self.path / f"{_slug(model)}-{self.state['models'][model]['fingerprint'][:8]}"


def _slug(name: str) -> str:
    """A name as a file name: readable, and with a hash where it had to be changed."""
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:]
    return readable if readable == name else f"{readable}-{content_hash(name)[:6]}"


def _read(path: Path, objects: Sequence[str]) -> dict[str, Any]:
    """A JSON object that holds others under these keys. Raises: DataError."""
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
