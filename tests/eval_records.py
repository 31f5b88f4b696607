"""Small evaluation files in the formats of the public datasets, and a task file measured on a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megalite.evaluation.measure.data_parallel import DataParallelGroup
from megalite.evaluation.measure.journal import Journal
from megalite.evaluation.measure.lm_eval_run import LmEvalOptions, load_lm, measure_task
from megalite.evaluation.tasks.benchmarks import BENCHMARKS
from megalite.evaluation.tasks.data_files import LocalData
from megalite.evaluation.tasks.load import task_facts
from megalite.evaluation.tasks.request import choose_network, request_tasks
from megalite.huggingface.check_folder import check_model_folder

WORDS = "river stone lamp violin harbour cedar engine pepper window glacier".split()


def hub_records(name: str, count: int) -> list[dict[str, Any]]:
    """Records in the format of a benchmark's dataset on the hub. Deterministic."""

    def text(number: int) -> str:
        return " ".join(WORDS[(number * 7 + place * (number % 3 + 1)) % len(WORDS)] for place in range(4))

    records: list[dict[str, Any]] = []
    for n in range(count):
        choices = {"text": [text(n + place) for place in range(4)], "label": ["A", "B", "C", "D"]}
        texts = [f"{text(n + place)} [step] ends" for place in range(4)]
        true = [f"It is {text(n)}", f"{text(n + 1)}."]
        records.append(
            {
                "arc": {"question": text(n), "choices": choices, "answerKey": "ABCD"[n % 4]},
                "openbookqa": {"question_stem": text(n), "choices": choices, "answerKey": "ABCD"[n % 4]},
                "copa": {
                    "premise": f"The {text(n)}.",
                    "question": ("cause", "effect")[n % 2],
                    "choice1": f"The {text(n + 1)}",
                    "choice2": f"A {text(n + 2)}",
                    "label": n % 2,
                },
                "gsm8k": {"question": text(n), "answer": f"{text(n)} <<1+{n}={n + 1}>>\n#### {n % 6}"},
                "hellaswag": {
                    "ctx_a": f"[header] {text(n)} [title] Go",
                    "ctx_b": text(n + 1),
                    "activity_label": "Cooking",
                    "endings": texts,
                    "label": str(n % 4),
                },
                "lambada": {"text": f"“{text(n)}”,  said\n\n{text(n + 1)}"},
                "piqa": {"goal": text(n), "sol1": text(n + 1), "sol2": text(n + 2), "label": n % 2},
                "truthfulqa_mc1": {
                    "question": text(n),
                    "mc1_targets": {"choices": choices["text"], "labels": [1, 0, 0, 0]},
                },
                "truthfulqa_mc2": {
                    "question": text(n),
                    "mc2_targets": {"choices": choices["text"], "labels": [1, 0, 1, 0]},
                },
                "truthfulqa_gen": {"question": text(n), "correct_answers": true, "incorrect_answers": texts},
                "winogrande": {
                    "sentence": f"The {text(n)} because _ was {text(n + 1)}.",
                    "option1": "stone",
                    "option2": "lamp",
                    "answer": str(n % 2 + 1),
                },
            }[BENCHMARKS[name].form]
        )
    return records


def write_jsonl(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def evaluate(model: Path, task_file: Path) -> dict[str, dict[str, Any]]:
    """Task -> metric -> value, as ``megalite evaluate`` measures a task file."""
    check_model_folder(str(model))
    choose_network([str(model)], [str(task_file)], LocalData())
    (task,), manager = request_tasks([str(task_file)])
    task_facts(task, manager)
    return measure_task(load_lm(str(model), 8, DataParallelGroup()), task, manager, LmEvalOptions(), Journal())[0][
        "results"
    ]
