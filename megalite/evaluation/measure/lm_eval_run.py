"""Runs one task through lm-eval on one model, and returns its figures and items."""

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from megalite.config.errors import DataError
from megalite.evaluation.measure.data_parallel import DataParallelGroup
from megalite.evaluation.measure.journal import Journal
from megalite.evaluation.tasks.load import load_tasks, quiet, task_errors
from megalite.evaluation.tasks.requested_task import RequestedTask
from megalite.huggingface.load import load_model

BOOTSTRAP = 1000
"""Resamplings for the standard error of metrics that are not means, such as perplexity."""
DEFAULT_NEW_TOKENS = 256
"""What lm-eval generates if a task does not set ``max_gen_toks``."""


@dataclass(frozen=True)
class LmEvalOptions:
    """The options that change the figures."""

    num_fewshot: int | None = None
    limit: int | None = None
    apply_chat_template: bool = False


def load_lm(model: str, batch_size: int | str, group: DataParallelGroup) -> Any:
    """The model as lm-eval uses it, on this rank's device. Raises: DataError."""
    loaded, tokenizer = load_model(model)
    from megalite.evaluation.measure.journaled_lm import JournaledLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with quiet():
        return JournaledLM(model, loaded, tokenizer, group, batch_size)


def measure_task(
    lm: Any, task: RequestedTask, manager: Any, options: LmEvalOptions, journal: Journal
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of a task (of a group: also of each member) and its items. Raises: DataError."""
    lm.journal = journal
    tasks = load_tasks(task, manager)
    _check_context_length(lm, tasks["tasks"])
    if options.apply_chat_template and not lm.tokenizer.chat_template:
        raise DataError(f"{lm.name}: its tokenizer has no chat template; remove --apply_chat_template")
    with task_errors(task):
        found = _run(lm, tasks, options)
    samples = found["samples"]
    truncated, asked = lm.truncated_questions(), len(journal.answers)
    result = {key: found[key] for key in ("higher_is_better", "n-shot", "versions", "n-samples")}
    note = f"{truncated:,} of {asked:,} questions lost their beginning: the model's context is {lm.max_length} tokens"
    result["notes"] = [note] if truncated else []
    result["group_subtasks"] = found.get("group_subtasks", {})
    result["results"] = {
        name: {key: _to_python(value) for key, value in metrics.items()}
        for name, metrics in (found["results"] | found.get("groups", {})).items()
    }
    _check_finite(lm.name, result["results"])
    chances = {name: _chance(one, samples.get(name, [])) for name, one in tasks["tasks"].items()}
    result["chance"] = {name: chance for name, chance in chances.items() if chance is not None}
    return result, [item for name, rows in samples.items() for item in _items(name, rows)]


def _run(lm: Any, tasks: dict[str, Any], options: LmEvalOptions) -> dict[str, Any]:
    """``lm_eval.simple_evaluate`` with its default seeds, without the minutes it spends describing the machine."""
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
    with quiet(), _without_forks():
        return lm_eval.evaluate(
            lm=lm,
            task_dict=tasks,
            limit=options.limit,
            apply_chat_template=options.apply_chat_template,
            fewshot_as_multiturn=True,
            bootstrap_iters=BOOTSTRAP,
        )


@contextlib.contextmanager
def _without_forks() -> Iterator[None]:
    """Keeps lm-eval's resampling in this process: it would fork while torch's threads run. The figures are the same."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before


def _items(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        metrics = {metric: _to_python(row[metric]) for metric in row["metrics"]}
        kept = {key: row[key] for key in ("doc_id", "doc", "target", "prompt_hash")}
        yield {"task": name, "filter": row["filter"], **kept, "answers": row["filtered_resps"], **metrics}


def _chance(task: Any, rows: Sequence[dict[str, Any]]) -> float | None:
    """Expected accuracy of random guessing in a multiple-choice task: the mean of 1 / choices over the items."""
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results) or not rows:
        return None
    shares = [1 / len(set(map(str, row["arguments"]))) for row in rows]
    return sum(shares) / len(shares)


def _check_finite(model: str, results: dict[str, dict[str, Any]]) -> None:
    for name, metrics in results.items():
        for metric, value in metrics.items():
            if isinstance(value, float) and not math.isfinite(value) and "_stderr" not in metric:
                raise DataError(
                    f"{model}: {metric.partition(',')[0]} of '{name}' is {value}; the model's outputs are not finite"
                )


def _check_context_length(lm: Any, tasks: dict[str, Any]) -> None:
    """Refuse a task that generates more tokens than the model's context holds. Raises: DataError."""
    for name, task in tasks.items():
        if task.OUTPUT_TYPE == "generate_until":
            new = (task.config.generation_kwargs or {}).get("max_gen_toks", DEFAULT_NEW_TOKENS)
            if new >= lm.max_length:
                raise DataError(
                    f"--tasks {name}: generates up to {new} tokens, but the model's context is {lm.max_length}; leave it out"
                )


def _to_python(value: Any) -> Any:
    """NumPy and torch numbers as Python's own, for JSON."""
    if isinstance(value, list | tuple):
        return [_to_python(part) for part in value]
    return value.item() if hasattr(value, "item") else value
