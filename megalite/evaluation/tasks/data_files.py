"""Finds the data files of a benchmark and reads their records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.decontaminate.eval_items import SUFFIXES, find_eval_files, read_eval_records
from megalite.evaluation.tasks.benchmarks import BENCHMARKS, PARADIGM, Benchmark, split_of
from megalite.evaluation.tasks.record_forms import FORMS, Record
from megalite.files.readers.input_files import COMPRESSIONS

READ = tuple(suffix for suffix in SUFFIXES if suffix != ".txt")


@dataclass(frozen=True)
class LocalData:
    """Where the data files of benchmarks are: the values of ``--data`` and ``--data_file``."""

    folders: Sequence[Path] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Benchmark -> globs."""

    @staticmethod
    def of(folders: Sequence[Path], pairs: Sequence[str]) -> "LocalData":
        """Parses the ``NAME=FILE`` pairs of ``--data_file``. Raises: ConfigError."""
        files: dict[str, list[str]] = {}
        for pair in pairs:
            name, equals, path = pair.partition("=")
            if not equals or name not in BENCHMARKS:
                raise ConfigError(f"--data_file {pair}: give NAME=FILE with NAME one of {', '.join(BENCHMARKS)}")
            files.setdefault(name, []).append(path)
        return LocalData(folders, files)

    def covers(self, name: str) -> bool:
        """Whether ``name`` is a benchmark to read from local data."""
        benchmark = "blimp" if name.startswith(PARADIGM) else name
        return benchmark in BENCHMARKS and (bool(self.folders) or benchmark in self.files)


@dataclass(frozen=True)
class SplitFiles:
    """The files of a benchmark by split."""

    evaluated: str
    """The split to evaluate on, under the name that lm-eval uses."""
    files: dict[str, list[Path]]
    """``evaluated``, and ``train`` or ``validation`` if present, for few-shot examples."""


def find_split_files(name: str, data: LocalData) -> SplitFiles:
    """The data files of a benchmark: those of ``--data_file``, else those in the folders whose path matches its name.

    Raises: FileNotFoundError if there is none; DataError if the choice is ambiguous or a field is missing.
    """
    benchmark, given = BENCHMARKS[name], data.files.get(name, ())
    paths = (
        find_eval_files(given) if given else [path for folder in data.folders for path in _matching(benchmark, folder)]
    )
    if not paths:
        raise FileNotFoundError(
            f"{', '.join(map(str, data.folders))}: no data file of '{name}' (path with '{name.split('_')[0]}', records "
            f"{_fields(benchmark)}; {', '.join(READ)}, also .gz, .zst); download it from "
            f"https://huggingface.co/datasets/{benchmark.source} or name it with --data_file {name}=FILE"
        )
    fitting = [path for path in paths if _first_fits(benchmark, path)]
    if not fitting:
        _convert(benchmark, paths[0], next(iter(read_eval_records(paths[0])), {}), 1)
        raise DataError(f"{paths[0]}: has no records of '{name}'")
    by_split: dict[str | None, list[Path]] = {}
    for path in fitting:
        by_split.setdefault(split_of(_relative(path, data.folders)), []).append(path)
    order = [split for split in (*benchmark.splits, None, "validation", "test") if split in by_split]
    if given and not order:
        order = ["train"]
    if not order:
        raise FileNotFoundError(
            f"{fitting[0]}: '{name}' has only a train split here; add the {benchmark.splits[0]} split"
        )
    chosen = order[0]
    evaluated = chosen if chosen in benchmark.splits else benchmark.splits[0]
    files = {evaluated: by_split.pop(chosen)}
    files |= {split: by_split[split] for split in ("train", "validation") if split in by_split and split not in files}
    for split, paths in files.items():
        shards = all("-of-" in path.name for path in paths) and len({path.parent for path in paths}) == 1
        if len(paths) > 1 and not (given or shards or name == "blimp"):
            raise DataError(
                f"{paths[0]} and {paths[1]}: both look like the {split} split of '{name}'; "
                f"choose one with --data_file {name}=FILE"
            )
    return SplitFiles(evaluated, files)


def read_benchmark(name: str, paths: Sequence[Path]) -> Iterator[Record]:
    """The records of one split, as the task file expects them. Raises: DataError with file, line and field."""
    benchmark = BENCHMARKS[name]
    for path in paths:
        labels = _label_file(path)
        for number, record in enumerate(read_eval_records(path), start=1):
            if labels is not None and isinstance(record, dict):
                if number > len(labels):
                    raise DataError(f"{path}:{number}: its label file ends at line {len(labels)}")
                record |= {"label": labels[number - 1]}
            converted = _convert(benchmark, path, record, number)
            if name == "blimp" and not converted["UID"]:
                converted["UID"] = path.name.split(".")[0]
            yield converted


def _matching(benchmark: Benchmark, folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"--data {folder}: no such folder")
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and benchmark.matches(_relative(p, [folder])))
    return [path for path in found if (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix in READ]


def _relative(path: Path, folders: Sequence[Path]) -> str:
    """The path from the folder's own name on; its parents say nothing about the file."""
    for folder in folders:
        if path.is_relative_to(folder):
            return str(Path(folder.resolve().name) / path.relative_to(folder))
    return path.name


def _first_fits(benchmark: Benchmark, path: Path) -> bool:
    record = next(iter(read_eval_records(path)), None)
    if isinstance(record, dict) and _label_file(path) is not None:
        record |= {"label": "0"}
    return any(not form.missing(record) for form in FORMS[benchmark.form])


def _label_file(path: Path) -> list[str] | None:
    """The lines of ``valid-labels.lst`` beside PIQA's ``valid.jsonl``."""
    beside = path.with_name(f"{path.name.split('.')[0]}-labels.lst")
    return beside.read_text().split() if beside.is_file() else None


def _convert(benchmark: Benchmark, path: Path, record: Any, number: int) -> Record:
    forms = FORMS[benchmark.form]
    missing = [form.missing(record) for form in forms]
    for form, lacks in zip(forms, missing, strict=True):
        if lacks:
            continue
        try:
            return form.convert(record)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}:{number}: {reason}; fix the record, or download the file again") from None
    nearest = min(missing, key=len)
    raise DataError(f"{path}:{number}: no field '{nearest[0]}'; a record has {_fields(benchmark)}")


def _fields(benchmark: Benchmark) -> str:
    return " or ".join("{" + ", ".join(form.fields) + "}" for form in FORMS[benchmark.form])
