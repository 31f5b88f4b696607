"""Refuses what lm-eval ignores or only warns about: unknown keys, metrics and filters, answers out of range."""

from collections.abc import Iterable, Sequence
from typing import Any

from megalite.config.errors import DataError
from megalite.config.suggest import suggestion
from megalite.config.text_files import kind_of

REPORTED = {
    "multiple_choice": ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "mcc", "brier_score"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}
"""The metrics that lm-eval computes for an output type; it silently drops all others from the results."""
NOT_READ = ("custom_dataset", "use_prompt", "unsafe_code", "doc_to_image", "doc_to_audio")
"""Refused keys of a task file: they load code or other data."""


def check_task_keys(task: dict[str, Any], source: str) -> None:
    """Refuse keys, metrics, aggregations and filters of a task file that lm-eval does not have. Raises: DataError."""
    from dataclasses import fields

    from lm_eval.api import registry
    from lm_eval.api.task import ALL_OUTPUT_TYPES
    from lm_eval.config.task import TaskConfig

    known = [field.name for field in fields(TaskConfig) if field.name not in NOT_READ]
    for key in task:
        _check_known(source, "key", key, known)
    kind = task.get("output_type", "generate_until")
    _check_known(source, "output_type", kind, ALL_OUTPUT_TYPES)
    for entry in _entries(source, task, "metric_list"):
        if entry.get("hf_evaluate"):
            raise DataError(f"{source}: metric_list: hf_evaluate loads code from the hub; use one of lm-eval's metrics")
        metric = entry.get("metric")
        _check_known(source, "metric", metric, list(registry.metric_registry.keys()))
        _check_known(source, f"metric for {kind}", metric, REPORTED.get(kind, (metric,)))
        if "aggregation" in entry:
            _check_known(source, "aggregation", entry["aggregation"], list(registry.aggregation_registry.keys()))
    for pipeline in _entries(source, task, "filter_list"):
        if not isinstance(pipeline.get("name"), str):
            raise DataError(f"{source}: filter_list: an entry has no 'name'; add one")
        for step in _entries(source, pipeline, "filter"):
            _check_known(source, "filter", step.get("function"), list(registry.filter_registry.keys()))
    options = task.get("generation_kwargs")
    if options is not None and not isinstance(options, dict):
        raise DataError(f"{source}: generation_kwargs is {kind_of(options)}, not an object")


def check_loaded(task: Any, name: str, source: str) -> None:
    """Refuse a loaded task without items, or with a metric that has no function or aggregation. Raises: DataError."""
    if len(task.eval_docs) == 0:
        raise DataError(f"{source}: '{name}' has no items; there is nothing to evaluate")
    functions = getattr(task, "_metric_fn_list", {})
    for metric, function in functions.items():
        if function is None and task.config.process_results is None:
            raise DataError(f"{source}: '{name}': unknown metric '{metric}'; use one of lm-eval's")
        if getattr(task, "_aggregation_list", {}).get(metric) is None:
            raise DataError(f"{source}: '{name}': metric '{metric}' has no known aggregation; add one, such as mean")


def check_answers(task: Any, name: str, source: str, documents: Iterable[Any]) -> None:
    """Refuse multiple-choice items that have no choices, or whose answer is not one of them. Raises: DataError.

    lm-eval only warns about such an answer and counts the item as wrong.
    """
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results):
        return
    for number, document in enumerate(documents):
        choices = task.doc_to_choice(document)
        where = f"{source}: '{name}', item {number}"
        if not isinstance(choices, list) or not choices or not all(isinstance(c, str) and c for c in choices):
            raise DataError(f"{where}: its choices are {str(choices)[:80]!r}; give a list of non-empty strings")
        given = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
        for answer in given if isinstance(given, list) else [given]:
            inside = (
                answer in choices if isinstance(answer, str) else isinstance(answer, int) and 0 <= answer < len(choices)
            )
            if not inside:
                raise DataError(
                    f"{where}: the answer {str(answer)[:80]!r} is not one of its {len(choices)} choices; fix the item"
                )


def _entries(source: str, values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = values.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{source}: {key} is {kind_of(found)}; give a list of objects")
    return found


def _check_known(source: str, what: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        names = list(map(str, known))
        hint = suggestion(str(value), names, f"known are {', '.join(names)}")
        raise DataError(f"{source}: unknown {what} {str(value)[:80]!r}; {hint}")
