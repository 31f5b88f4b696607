"""The formats of public evaluation records, and how to convert each to what the task file expects."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class RecordForm:
    """One format of a dataset's records."""

    fields: tuple[str, ...]
    """Required fields; ``question.stem`` is the field ``stem`` inside ``question``."""
    convert: Callable[[Record], Record]
    """Returns the record for the task file. Raises: KeyError, ValueError, TypeError, IndexError."""

    def missing(self, record: Any) -> list[str]:
        return [field for field in self.fields if _inside(record, field) is None]


def _inside(record: Any, field: str) -> Any:
    for key in field.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(key)
    return record


def kept(*fields: str) -> RecordForm:
    """A form whose fields are copied unchanged."""
    return RecordForm(fields, lambda record: {field: record[field] for field in fields})


def _lettered(stem: str) -> RecordForm:
    """AI2's original: ``{"question": {"stem", "choices": [{"text", "label"}]}, "answerKey"}``."""

    def convert(record: Record) -> Record:
        choices = record["question"]["choices"]
        listed = {"text": [choice["text"] for choice in choices], "label": [choice["label"] for choice in choices]}
        return _with_answer({stem: record["question"]["stem"], "choices": listed, "answerKey": record["answerKey"]})

    return RecordForm(("question.stem", "question.choices", "answerKey"), convert)


def _with_answer(record: Record) -> Record:
    if record["answerKey"].strip() not in record["choices"]["label"]:
        raise ValueError(f"answerKey {record['answerKey']!r} is not one of the labels {record['choices']['label']}")
    return record


def _listed(stem: str) -> RecordForm:
    """The hub's: ``{stem, "choices": {"text": [...], "label": [...]}, "answerKey"}``."""
    fields = (stem, "choices", "answerKey")
    return RecordForm(
        (stem, "choices.text", "choices.label", "answerKey"),
        lambda record: _with_answer({field: record[field] for field in fields}),
    )


def _numbered(record: Record, label: str, choices: int, target: str | None = None) -> Record:
    """The record with its label as an int. Raises: ValueError if it is not one of the choices."""
    number = int(record[label])
    if not 0 <= number < choices:
        raise ValueError(f"{label} {record[label]!r} is not one of {choices} choices")
    return {key: value for key, value in record.items() if key != label} | {target or label: number}


def _hellaswag(record: Record) -> Record:
    """The context of an item and its endings without WikiHow's markup, cleaned as lm-eval does."""
    context = f"{record['ctx_a']} {record['ctx_b'].capitalize()}"
    query = _without_markup(f"{record['activity_label']}: {context}")
    choices = [_without_markup(ending) for ending in record["endings"]]
    return _numbered({"query": query, "choices": choices, "label": record["label"]}, "label", len(choices))


def _without_markup(text: str) -> str:
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _copa_query(record: Record) -> Record:
    """MosaicML's ``{"query": "The man fell, because", "choices", "gold"}`` as SuperGLUE has it."""
    premise, _, connector = record["query"].rstrip().rpartition(" ")
    if connector not in ("because", "therefore") or len(record["choices"]) != 2:
        raise ValueError("a query must end with 'because' or 'therefore' and have two choices")
    first, second = record["choices"]
    question = "cause" if connector == "because" else "effect"
    converted = {"premise": premise.rstrip(",") + ".", "question": question, "choice1": first, "choice2": second}
    return _numbered(converted | {"label": record["gold"]}, "label", 2)


def _targets(name: str) -> tuple[RecordForm, RecordForm]:
    """TruthfulQA's choices with a 1 for each true one: the hub's two lists, or the original's ``{choice: 0 or 1}``."""

    def convert(record: Record) -> Record:
        targets = record[name]
        if "choices" not in targets:
            targets = {"choices": list(targets), "labels": list(targets.values())}
        if name == "mc1_targets" and (targets["labels"][0] != 1 or sum(targets["labels"]) != 1):
            raise ValueError("exactly one choice of mc1_targets must be true: the first")
        return {"question": record["question"], name: {key: targets[key] for key in ("choices", "labels")}}

    return RecordForm(("question", f"{name}.choices", f"{name}.labels"), convert), RecordForm(
        ("question", name), convert
    )


def _semicolons(record: Record) -> Record:
    """TruthfulQA's CSV: one cell with answers separated by semicolons."""
    cells = {"correct_answers": record["Correct Answers"], "incorrect_answers": record["Incorrect Answers"]}
    lists = {key: [part.strip() for part in cell.split(";") if part.strip()] for key, cell in cells.items()}
    return {"question": record["Question"], **lists}


def _minimal_pair(record: Record) -> Record:
    return {key: str(record[key]) for key in ("sentence_good", "sentence_bad")} | {"UID": str(record.get("UID") or "")}


_BLANKED = ("sentence", "option1", "option2", "answer")


def _winogrande(record: Record) -> Record:
    converted = {field: str(record[field]) for field in _BLANKED}
    if "_" not in converted["sentence"] or converted["answer"] not in ("1", "2"):
        raise ValueError("a sentence must contain a _ and the answer must be 1 or 2 (the test file has no answers)")
    return converted


FORMS: dict[str, tuple[RecordForm, ...]] = {
    "arc": (_listed("question"), _lettered("question")),
    "openbookqa": (_listed("question_stem"), _lettered("question_stem")),
    "piqa": (
        RecordForm(
            ("goal", "sol1", "sol2", "label"),
            lambda r: _numbered({key: r[key] for key in ("goal", "sol1", "sol2", "label")}, "label", 2),
        ),
    ),
    "hellaswag": (
        RecordForm(("ctx_a", "ctx_b", "activity_label", "endings", "label"), _hellaswag),
        RecordForm(
            ("query", "choices", "gold"),
            lambda r: _numbered(
                {key: r[key] for key in ("query", "choices", "gold")}, "gold", len(r["choices"]), "label"
            ),
        ),
    ),
    "winogrande": (RecordForm(_BLANKED, _winogrande),),
    "copa": (
        RecordForm(
            ("premise", "question", "choice1", "choice2", "label"),
            lambda r: _numbered(
                {key: r[key] for key in ("premise", "question", "choice1", "choice2", "label")}, "label", 2
            ),
        ),
        RecordForm(("query", "choices", "gold"), _copa_query),
    ),
    "lambada": (
        kept("text"),
        RecordForm(("context", "continuation"), lambda r: {"text": f"{r['context']} {r['continuation'].strip()}"}),
    ),
    "gsm8k": (kept("question", "answer"),),
    "truthfulqa_mc1": _targets("mc1_targets"),
    "truthfulqa_mc2": _targets("mc2_targets"),
    "truthfulqa_gen": (
        kept("question", "correct_answers", "incorrect_answers"),
        RecordForm(("Question", "Correct Answers", "Incorrect Answers"), _semicolons),
    ),
    "blimp": (RecordForm(("sentence_good", "sentence_bad"), _minimal_pair),),
}
