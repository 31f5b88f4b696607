"""lm-eval's benchmarks on Hugging Face models: names of the hub, local task files, and benchmarks from local data files."""

import contextlib
import io
import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.evaluation.journal import Journal
from megalite.evaluation.json_output import content_hash
from megalite.evaluation.local_tasks import (
    AskedTask,
    asked_names,
    check_task_names,
    check_written,
    file_task,
    is_file,
    is_local,
    write_local_task,
)
from megalite.evaluation.network import go_offline, hub_answers
from megalite.evaluation.ranks import Ranks
from megalite.evaluation.task_checks import check_answers, check_loaded, check_task_keys
from megalite.evaluation.task_code import guard_tasks
from megalite.evaluation.task_file import read_task
from megalite.huggingface.load import load_model
from megalite.huggingface.model_folder import check_model_folder
from megalite.huggingface.quiet_libraries import quiet_libraries

BOOTSTRAP = 1000
"""Resamplings for the error of a metric that is no mean, such as perplexity."""
LOCAL_FORMATS = ("json", "csv", "parquet", "arrow", "text", "pandas")
"""What ``datasets`` reads from ``data_files`` without asking the hub."""
MOST_NEW_TOKENS = 256
"""What lm-eval generates where a task does not say how much."""


@dataclass(frozen=True)
class LmEvalOptions:
    """What changes an item's figures."""

    num_fewshot: int | None = None
    limit: int | None = None
    apply_chat_template: bool = False


def evaluate(
    model: str, tasks: list[str], num_fewshot: int | None = None, limit: int | None = None, batch_size: int | str = 8
) -> dict[str, dict[str, Any]]:
    """Task -> metric -> value, as lm-eval reports them (``acc,none`` and its standard error).

    Local task files are read without the network; ``data_files`` in them are relative to the file.

    Raises: DataError, FileNotFoundError before the model is loaded.
    """
    check_model_folder(model)
    settle_network([model], tasks)
    asked, manager = ask_tasks(tasks)
    for task in asked:
        task_facts(task, manager, limit)
    loaded = load_lm(model, batch_size, Ranks())
    options = LmEvalOptions(num_fewshot, limit)
    found = [measure(loaded, task, manager, options, Journal())[0]["results"] for task in asked]
    return {name: metrics for results in found for name, metrics in results.items()}


def ask_tasks(
    names: Sequence[str],
    folders: Sequence[Path] = (),
    given: dict[str, list[str]] | None = None,
    written: Path | None = None,
    include_path: str | None = None,
    num_fewshot: int | None = None,
) -> tuple[list[AskedTask], Any]:
    """The tasks that names stand for, and the task manager that loads them.

    Args:
        folders, given: where local benchmarks' data is.
        written: the folder that gets the task files of local benchmarks.
        include_path: a folder of the user's task files, whose functions are run.
        num_fewshot: examples asked for; what is said of them in the notes depends on it.

    Raises: DataError, FileNotFoundError.
    """
    names, given = asked_names(names), given or {}
    local = {name for name in names if not is_file(name) and is_local(name, folders, given)}
    hub = [name for name in names if not is_file(name) and name not in local]
    trusted = _trusted(include_path)
    quiet_libraries()
    guard_tasks(trusted)
    asked = {name: file_task(Path(name)) for name in names if is_file(name)}
    for task in asked.values():
        check_task_keys(task.spec, task.source)
    if written is not None and local:
        written.mkdir(parents=True, exist_ok=True)
        asked |= {name: write_local_task(name, folders, given, written, num_fewshot) for name in names if name in local}
    from lm_eval.tasks import TaskManager

    paths: list[str | Path] = [*trusted, *([written] if written is not None and local else [])]
    manager = TaskManager(include_path=paths, include_defaults=False)
    if not all(name in manager.all_subtasks for name in hub):
        manager = TaskManager(include_path=paths)  # reads lm-eval's thousands of task files
    check_task_names([*hub, *local], manager)
    if written is not None:
        check_written(local, manager, written)
    asked |= {name: AskedTask(name, name, "hub") for name in hub}
    return [asked[name] for name in names], manager


def settle_network(
    models: Sequence[str], names: Sequence[str], folders: Sequence[Path] = (), given: dict[str, list[str]] | None = None
) -> None:
    """Go offline where nothing is needed from the hub, or the hub does not answer.

    To be called before ``huggingface_hub`` is imported: it reads its variables once, and without them a missing network
    costs minutes of retries. Raises: FileNotFoundError, DataError for a task file.
    """
    files = [read_task(Path(name)) for name in names if is_file(name)]
    named = [name for name in asked_names(names) if not is_file(name) and not is_local(name, folders, given or {})]
    needed = any(not Path(model).exists() for model in models) or bool(named) or any(map(_from_hub, files))
    if not (needed and hub_answers()):
        go_offline()


def _from_hub(task: dict[str, Any]) -> bool:
    """Whether a task file's data has to be got from the hub."""
    path = task.get("dataset_path")
    return path is not None and path not in LOCAL_FORMATS and not Path(path).exists()


def load_tasks(task: AskedTask, manager: Any) -> dict[str, Any]:
    """lm-eval's task and group objects, with their documents. Raises: DataError where they cannot be got."""
    import datasets.exceptions

    with quiet():
        try:
            found = dict(manager.load([task.spec]))
            for name, one in found["tasks"].items():
                check_loaded(one, name, task.source)
            return found
        except DataError:
            raise
        except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
            raise DataError(
                f"--tasks {task.name}: its data is on the hub, which does not answer ({_first_line(error)}); give --data "
                "DIR with its files, or a task file over local data"
            ) from None
        except datasets.exceptions.DatasetGenerationError as error:
            raise DataError(f"{task.source}: not readable: {_first_line(error.__cause__ or error)}") from None
        except ImportError as error:
            raise DataError(
                f"--tasks {task.name}: needs a package that is not installed: {_first_line(error)}"
            ) from None
        except Exception as error:  # a task is a program: it fails in any way
            raise DataError(f"{task.source}: cannot be loaded as a task: {_line(error)}") from None


def task_facts(task: AskedTask, manager: Any, limit: int | None = None) -> dict[str, Any]:
    """What a task is: source, files, notes, and a hash over its prompts' templates and all its documents.

    Raises: DataError where one of the first ``limit`` items has no answer among its choices.
    """
    loaded = load_tasks(task, manager)["tasks"]
    parts = []
    for name, one in sorted(loaded.items()):
        config = {key: value for key, value in one.dump_config().items() if key not in ("dataset_kwargs", "metadata")}
        said = re.sub(r" at 0x[0-9a-f]+", "", str(sorted(config.items())))  # functions stand in it with their addresses
        with task_errors(task):
            check_answers(one, name, task.source, islice(one.eval_docs, limit))
        documents = content_hash([dict(document) for document in one.eval_docs])
        parts.append([name, said, documents])
    notes = list(task.notes)
    return {"fingerprint": content_hash(parts), "source": task.source, "files": task.files, "notes": notes}


def load_lm(model: str, batch_size: int | str, ranks: Ranks) -> Any:
    """The model as lm-eval uses it, on this rank's device. Raises: DataError."""
    loaded, tokenizer = load_model(model)
    from megalite.evaluation.journaled_lm import JournaledLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with quiet():
        return JournaledLM(model, loaded, tokenizer, ranks, batch_size)


def measure(
    loaded: Any, task: AskedTask, manager: Any, options: LmEvalOptions, journal: Journal
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of a task (of a group: of each member too) and its items. Raises: DataError."""
    loaded.journal = journal
    tasks = load_tasks(task, manager)
    _check_room(loaded, tasks["tasks"])
    if options.apply_chat_template and not loaded.tokenizer.chat_template:
        raise DataError(f"{loaded.name}: its tokenizer has no chat template; leave --apply_chat_template out")
    with task_errors(task):
        found = run_tasks(loaded, tasks, options)
    samples = found["samples"]
    cut, asked = loaded.cut_questions(), len(journal.answers)
    result = {key: found[key] for key in ("higher_is_better", "n-shot", "versions", "n-samples")}
    said = f"{cut:,} of {asked:,} questions lost their beginning: the model sees {loaded.max_length} tokens"
    result["notes"] = [said] if cut else []
    result["group_subtasks"] = found.get("group_subtasks", {})
    result["results"] = {
        name: _plain(metrics) for name, metrics in (found["results"] | found.get("groups", {})).items()
    }
    _check_figures(loaded.name, result["results"])
    result["chance"] = {
        name: chance
        for name, one in tasks["tasks"].items()
        if (chance := _chance(one, samples.get(name, []))) is not None
    }
    return result, [item for name, rows in samples.items() for item in _items(name, rows)]


def run_tasks(loaded: Any, tasks: dict[str, Any], options: LmEvalOptions) -> dict[str, Any]:
    """What ``lm_eval.simple_evaluate`` gives with its default seeds, less the minutes in which it describes the machine."""
    import random

    import lm_eval
    import numpy
    import torch
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    numpy.random.seed(DEFAULT_OTHER_SEED)
    torch.manual_seed(DEFAULT_OTHER_SEED)
    for one in tasks["tasks"].values():
        fixed = one.get_config("num_fewshot")
        if fixed is None or (fixed != 0 and options.num_fewshot is not None):
            one.set_config(key="num_fewshot", value=options.num_fewshot or 0)
        one.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with quiet(), in_one_process():
        return lm_eval.evaluate(
            lm=loaded,
            task_dict=tasks,
            limit=options.limit,
            apply_chat_template=options.apply_chat_template,
            fewshot_as_multiturn=True,
            bootstrap_iters=BOOTSTRAP,
        )


@contextlib.contextmanager
def task_errors(task: AskedTask) -> Iterator[None]:
    """What goes wrong in a task's own templates, functions and items, as a DataError of one line."""
    import jinja2

    try:
        yield
    except DataError:
        raise
    except (
        jinja2.TemplateError,
        LookupError,
        ValueError,
        TypeError,
        ArithmeticError,
        AssertionError,
        SyntaxError,
    ) as error:
        raise DataError(f"{task.source}: lm-eval cannot measure it: {_line(error)}") from None


def _trusted(include_path: str | None) -> list[Path]:
    """The folder of ``--include_path``. Raises: FileNotFoundError, DataError where it holds no task."""
    if include_path is None:
        return []
    folder = Path(include_path)
    if not folder.is_dir():
        raise FileNotFoundError(f"--include_path {include_path}: no such folder; check the path")
    if not any(folder.glob("**/*.yaml")):
        raise DataError(
            f"--include_path {include_path}: holds no task (no .yaml file in it); give a folder with task files"
        )
    return [folder]


def _items(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        metrics = {metric: _number(row[metric]) for metric in row["metrics"]}
        kept = {key: row[key] for key in ("doc_id", "doc", "target", "prompt_hash")}
        yield {"task": name, "filter": row["filter"], **kept, "answers": row["filtered_resps"], **metrics}


def _chance(task: Any, rows: Sequence[dict[str, Any]]) -> float | None:
    """What guessing gets right in a multiple-choice task: the mean over items of one over the choices."""
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results) or not rows:
        return None
    shares = [1 / len(set(map(str, row["arguments"]))) for row in rows]
    return sum(shares) / len(shares)


def _check_figures(model: str, results: dict[str, dict[str, Any]]) -> None:
    """Refuse a figure that is no number. Raises: DataError."""
    for name, metrics in results.items():
        for metric, value in metrics.items():
            if isinstance(value, float) and not math.isfinite(value) and "_stderr" not in metric:
                raise DataError(
                    f"{model}: {metric.partition(',')[0]} of '{name}' is {value}; the model's outputs are no numbers"
                )


def _check_room(loaded: Any, tasks: dict[str, Any]) -> None:
    """A model must have room for what a task lets it write. Raises: DataError."""
    for name, task in tasks.items():
        if task.OUTPUT_TYPE == "generate_until":
            new = (task.config.generation_kwargs or {}).get("max_gen_toks", MOST_NEW_TOKENS)
            if new >= loaded.max_length:
                raise DataError(
                    f"--tasks {name}: writes up to {new} tokens and the model sees {loaded.max_length}; leave it out"
                )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what lm-eval prints between the lines; its results are printed by us."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def in_one_process() -> Iterator[None]:
    """lm-eval would fork, beside torch's threads, to resample; its random numbers are the same in this process."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before


def _first_line(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _line(error: Exception) -> str:
    """An error of any kind in one line; a KeyError says no more than its key."""
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said}" if isinstance(error, LookupError) or not said else said


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    """Numbers as Python's own, so that they go into JSON."""
    return {key: _number(value) for key, value in metrics.items()}


def _number(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_number(part) for part in value]
    return value.item() if hasattr(value, "item") else value
