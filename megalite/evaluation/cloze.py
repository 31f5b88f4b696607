"""A multiple-choice task made of held-out documents: which of four texts continues this one? Chance is 25 %."""

import argparse
import json
from pathlib import Path

import yaml
from rich.console import Console

from megalite.config.errors import DataError, one_line_errors
from megalite.corpus.readers import expand_inputs, read_documents

CHOICES = 4
CONTEXT_WORDS, CONTINUATION_WORDS = 60, 20


@one_line_errors
def main() -> None:
    """``tools/make_cloze_task.py``."""
    parser = argparse.ArgumentParser(description="Make an lm-eval task from held-out documents.")
    parser.add_argument("--input", nargs="+", required=True, metavar="GLOB")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets cloze.yaml and cloze.jsonl")
    parser.add_argument("--text_key", default="text")
    parser.add_argument("--max_items", type=int, default=200)
    a = parser.parse_args()
    texts = [document.text for document in read_documents(expand_inputs(a.input), a.text_key)]
    items = make_items(texts, a.max_items)
    write_task(items, a.output)
    Console(soft_wrap=True).print(
        f"{a.output / 'cloze.yaml'}: {len(items)} items of {CHOICES} choices", highlight=False
    )


def make_items(texts: list[str], max_items: int) -> list[dict[str, object]]:
    """Context, choices and the number of the true one, the same for the same texts.

    The wrong choices are the continuations of the next three documents.

    Raises: DataError where fewer than four documents are long enough.
    """
    cuts = []
    for text in texts:
        words = text.split()
        if len(words) >= CONTEXT_WORDS + CONTINUATION_WORDS:
            after = CONTEXT_WORDS + CONTINUATION_WORDS
            cuts.append((" ".join(words[:CONTEXT_WORDS]), " ".join(words[CONTEXT_WORDS:after])))
    if len(cuts) < CHOICES:
        raise DataError(
            f"{len(cuts)} of {len(texts)} documents have {CONTEXT_WORDS + CONTINUATION_WORDS} words; {CHOICES} are needed"
        )
    items: list[dict[str, object]] = []
    for number, (context, _) in enumerate(cuts[:max_items]):
        gold = number % CHOICES
        choices = [cuts[(number + place) % len(cuts)][1] for place in range(CHOICES)]
        choices[0], choices[gold] = choices[gold], choices[0]
        items.append({"context": context, "choices": choices, "gold": gold})
    return items


def write_task(items: list[dict[str, object]], folder: Path) -> None:
    """The items as jsonl and the lm-eval task that reads them from the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cloze.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    task = {
        "task": "cloze",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "cloze.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{choices}}",
        "target_delimiter": " ",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1},
    }
    (folder / "cloze.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
