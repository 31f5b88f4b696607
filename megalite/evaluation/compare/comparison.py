"""An evaluation folder as rows: one metric of one task, a figure per model, and the differences between models."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from megalite.evaluation.compare.paired import paired_error
from megalite.evaluation.evaluation_folder import EvaluationFolder

Z95 = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""


class Figure(NamedTuple):
    """A value and its standard error, None if unknown."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Row:
    """One metric of one task."""

    task: str
    metric: str
    in_group: bool
    """Whether the task is a member of a group, which has its own rows."""
    higher_is_better: bool | None
    items: int | None
    examples: int | None
    chance: float | None
    figures: tuple[Figure | None, ...]
    """One per model; None if not measured."""
    differences: tuple[Figure | None, ...]
    """Each model minus the first, with the standard error of the paired difference over the same items."""


@dataclass(frozen=True)
class Comparison:
    """All figures of an evaluation folder."""

    options: dict[str, Any]
    models: dict[str, str]
    """Name -> fingerprint."""
    tasks: dict[str, dict[str, Any]]
    """Name -> source, data files with their hashes, notes."""
    rows: tuple[Row, ...]
    results: dict[str, dict[str, dict[str, Any]]]
    """Model -> requested task -> the stored result of the pair."""

    @staticmethod
    def of(folder: EvaluationFolder) -> "Comparison":
        models, tasks = folder.state["models"], folder.state["tasks"]
        results = {m: {t: folder.result(m, t) for t in tasks if folder.finished(m, t)} for m in models}
        rows = [row for task in tasks for row in _rows(folder, task, list(models), results)]
        fingerprints = {name: facts["fingerprint"] for name, facts in models.items()}
        return Comparison(folder.state["options"], fingerprints, tasks, tuple(rows), results)

    def notes(self) -> list[str]:
        """What a reader must know to compare the figures, prefixed with the tasks and models concerned."""
        of_tasks = [f"{name}: {note}" for name, facts in self.tasks.items() for note in facts["notes"]]
        short = dict(zip(self.models, self.short_names(), strict=True))
        of_pairs = [
            f"{task}, {short[model]}: {note}"
            for model, pairs in self.results.items()
            for task, pair in pairs.items()
            for note in pair["notes"]
        ]
        return of_tasks + of_pairs

    def figures(self, model: str) -> dict[str, Any]:
        """Task -> metric -> value of one model, as lm-eval reports them."""
        return {name: dict(found) for pair in self.results[model].values() for name, found in pair["results"].items()}

    def short_names(self) -> list[str]:
        """The models' names without the leading and trailing path parts that all of them share."""
        parts = [name.rstrip("/").split("/") for name in self.models]
        if len(parts) == 1:
            return list(self.models)
        while all(len(one) > 1 for one in parts) and len({one[0] for one in parts}) == 1:
            parts = [one[1:] for one in parts]
        while all(len(one) > 1 for one in parts) and len({one[-1] for one in parts}) == 1:
            parts = [one[:-1] for one in parts]
        return ["/".join(one) for one in parts]

    def to_json(self) -> dict[str, Any]:
        """Rows with figures and differences by model, and lm-eval's results."""
        rows = [
            asdict(row)
            | {
                "figures": {m: f and f._asdict() for m, f in zip(self.models, row.figures, strict=True)},
                "differences": {m: f and f._asdict() for m, f in zip(self.models, row.differences, strict=True)},
            }
            for row in self.rows
        ]
        options = {"options": self.options, "models": self.models, "tasks": self.tasks}
        return options | {"rows": rows, "results": self.results}


def _rows(
    folder: EvaluationFolder, task: str, models: Sequence[str], results: dict[str, dict[str, dict[str, Any]]]
) -> Iterator[Row]:
    pairs = [results[model].get(task) for model in models]
    first = next((pair for pair in pairs if pair is not None), None)
    if first is None:
        return
    several = sum(pair is not None for pair in pairs) > 1
    items = [_by_task(folder.items(m, task)) if several and pair else {} for m, pair in zip(models, pairs, strict=True)]
    groups = {name: members for name, members in first["group_subtasks"].items() if members}
    members = {name for inner in groups.values() for name in inner}
    names = [*(name for name in groups if name in first["results"]), *(n for n in first["results"] if n not in groups)]
    for name in names:
        for key, value in first["results"][name].items():
            metric, comma, chosen = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            figures = tuple(_figure(pair, name, metric, chosen) for pair in pairs)
            leaves = _leaves(name, groups)
            yield Row(
                task=name,
                metric=metric if chosen == "none" else f"{metric} ({chosen})",
                in_group=name in members,
                higher_is_better=first["higher_is_better"].get(leaves[0], {}).get(metric),
                items=sum(first["results"].get(leaf, {}).get("sample_len", 0) for leaf in leaves) or None,
                examples=first["n-shot"].get(leaves[0]),
                chance=_mean_chance(first["chance"], leaves) if metric in ("acc", "acc_norm") else None,
                figures=figures,
                differences=tuple(_difference(leaves, metric, chosen, pairs, items, n) for n in range(len(models))),
            )


def _leaves(name: str, groups: dict[str, list[str]]) -> list[str]:
    """The tasks of a group and its subgroups; a task itself otherwise."""
    return [leaf for member in groups[name] for leaf in _leaves(member, groups)] if name in groups else [name]


def _mean_chance(chance: dict[str, float], leaves: Sequence[str]) -> float | None:
    known = [chance[leaf] for leaf in leaves if leaf in chance]
    return sum(known) / len(known) if len(known) == len(leaves) else None


def _by_task(items: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault((item["task"], item["filter"]), []).append(item)
    return found


def _figure(pair: dict[str, Any] | None, name: str, metric: str, chosen: str) -> Figure | None:
    metrics = pair["results"].get(name, {}) if pair else {}
    value = metrics.get(f"{metric},{chosen}")
    error = metrics.get(f"{metric}_stderr,{chosen}")
    return None if value is None else Figure(value, error if isinstance(error, int | float) else None)


def _difference(
    leaves: Sequence[str],
    metric: str,
    chosen: str,
    pairs: Sequence[dict[str, Any] | None],
    items: Sequence[dict[tuple[str, str], list[dict[str, Any]]]],
    number: int,
) -> Figure | None:
    """Model ``number`` minus the first. A group's difference is the mean over its members, whose items are independent."""
    if number == 0 or pairs[0] is None or pairs[number] is None:
        return None
    deltas, errors = [], []
    for leaf in leaves:
        ours, theirs = (_figure(pairs[n], leaf, metric, chosen) for n in (number, 0))
        if ours is None or theirs is None:
            return None
        values = [[item.get(metric) for item in items[n].get((leaf, chosen), [])] for n in (number, 0)]
        deltas.append(ours.value - theirs.value)
        errors.append(paired_error(values[0], values[1], (ours.value, theirs.value)))
    known = [error for error in errors if error is not None]
    error = math.sqrt(math.fsum(error**2 for error in known)) / len(leaves) if len(known) == len(leaves) else None
    return Figure(math.fsum(deltas) / len(leaves), error)
