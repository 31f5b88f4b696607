"""A benchmark's records out of whatever public files are there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.decontaminate.eval_items import SUFFIXES, find_eval_files, read_eval_records
from megalite.evaluation.benchmarks import BENCHMARKS, Benchmark, split_of
from megalite.evaluation.record_forms import FORMS, Record
from megalite.files.readers.documents import COMPRESSIONS

READ = tuple(suffix for suffix in SUFFIXES if suffix != ".txt")


@dataclass(frozen=True)
class SplitFiles:
    """The files of a benchmark by split, those to evaluate on under the split's name that lm-eval uses."""

    evaluated: str
    files: dict[str, list[Path]]
    """``evaluated`` and perhaps ``train``, ``validation`` for examples."""


def find_split_files(name: str, folders: Sequence[Path], given: Sequence[str] = ()) -> SplitFiles:
    """The data files of a benchmark: those ``given`` (globs), or those in the folders whose path names it.

    Raises: FileNotFoundError where there is none; DataError where several fit or a field is missing.
    """
    benchmark = BENCHMARKS[name]
    paths = find_eval_files(given) if given else [path for folder in folders for path in _named(benchmark, folder)]
    if not paths:
        raise FileNotFoundError(
            f"{', '.join(map(str, folders))}: no data file of '{name}' (its path holds '{name.split('_')[0]}', records "
            f"{_fields(benchmark)}; {', '.join(READ)}, also .gz, .zst); get it from "
            f"https://huggingface.co/datasets/{benchmark.source} or name it with --data_file {name}=FILE"
        )
    fitting = [path for path in paths if _first_fits(benchmark, path)]
    if not fitting:
        _convert(benchmark, paths[0], next(iter(read_eval_records(paths[0])), {}), 1)
        raise DataError(f"{paths[0]}: has no records of '{name}'")
    by_split: dict[str | None, list[Path]] = {}
    for path in fitting:
        by_split.setdefault(split_of(_shown(path, folders)), []).append(path)
    order = [split for split in (*benchmark.splits, None, "validation", "test") if split in by_split]
    if given and not order:
        order = ["train"]
    if not order:
        raise FileNotFoundError(
            f"{fitting[0]}: only the train split of '{name}' is here; {benchmark.splits[0]} is missing"
        )
    chosen = order[0]
    evaluated = chosen if chosen in benchmark.splits else benchmark.splits[0]
    files = {evaluated: by_split.pop(chosen)}
    files |= {split: by_split[split] for split in ("train", "validation") if split in by_split and split not in files}
    for split, paths in files.items():
        _check_one_source(name, benchmark, split, paths, bool(given))
    return SplitFiles(evaluated, files)


def read_benchmark(name: str, paths: Sequence[Path]) -> Iterator[Record]:
    """The records of one split as the task file reads them. Raises: DataError with file, line and field."""
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


def _named(benchmark: Benchmark, folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"--data {folder}: no such folder")
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and benchmark.names(_shown(path, [folder])))
    return [path for path in found if (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix in READ]


def _shown(path: Path, folders: Sequence[Path]) -> str:
    """A path from the folder's own name on: what stands above it says nothing about the file."""
    for folder in folders:
        if path.is_relative_to(folder):
            return str(Path(folder.resolve().name) / path.relative_to(folder))
    return path.name


def _first_fits(benchmark: Benchmark, path: Path) -> bool:
    record = next(iter(read_eval_records(path)), None)
    labelled = isinstance(record, dict) and _label_file(path) is not None
    return any(not form.missing(record | {"label": "0"} if labelled else record) for form in FORMS[benchmark.form])  # type: ignore[operator]


def _check_one_source(name: str, benchmark: Benchmark, split: str, paths: list[Path], given: bool) -> None:
    """Several files of a split are the shards of one, or BLiMP's paradigms. Raises: DataError where they are not."""
    shards = all("-of-" in path.name for path in paths) and len({path.parent for path in paths}) == 1
    if len(paths) > 1 and not (given or shards or name == "blimp"):
        raise DataError(
            f"{paths[0]} and {paths[1]}: both look like the {split} split of '{name}'; give one with --data_file {name}=FILE"
        )


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
            raise DataError(f"{path}:{number}: {reason}; mend the record, or get the file again") from None
    nearest = min(missing, key=len)
    raise DataError(f"{path}:{number}: no field '{nearest[0]}'; a record has {_fields(benchmark)}")


def _fields(benchmark: Benchmark) -> str:
    return " or ".join("{" + ", ".join(form.fields) + "}" for form in FORMS[benchmark.form])
