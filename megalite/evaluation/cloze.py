"""Makes a multiple-choice task from held-out documents: which of four texts continues this one? Chance is 25 %."""

import json
from pathlib import Path

import yaml

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import DataError, one_line_errors
from megalite.config.screen import screen
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import add_max_malformed
from megalite.files.whole_folder import check_output, whole_folder

CHOICES = 4
CONTEXT_WORDS, CONTINUATION_WORDS = 60, 20


@one_line_errors
def main() -> None:
    parser = CommandParser(description="Make a multiple-choice task for lm-eval from held-out documents.")
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="GLOB", help="held-out documents: files or quoted globs"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write: cloze.yaml and cloze.jsonl"
    )
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    add_max_malformed(parser)
    parser.add_argument("--max_items", type=whole_number(), default=200, help="maximum number of items")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    a = parser.parse_args()
    paths = expand_inputs(a.input)
    texts = [document.text for document in read_documents(paths, a.text_key, max_malformed=a.max_malformed)]
    items = make_items(texts, a.max_items)
    files = task_files(items)
    console = screen()
    if all((a.output / name).is_file() and (a.output / name).read_text() == text for name, text in files.items()):
        console.print(f"{a.output}: already finished, nothing to do", highlight=False)
        return
    check_output(a.output, tuple(files), a.overwrite, paths)
    with whole_folder(a.output) as partial:
        for name, text in files.items():
            (partial / name).write_text(text)
    console.print(f"{a.output / 'cloze.yaml'}: {len(items)} items of {CHOICES} choices", highlight=False)


def make_items(texts: list[str], max_items: int) -> list[dict[str, object]]:
    """Items of context, choices and the index of the true choice. Deterministic.

    The wrong choices are the continuations of the next three documents.

    Raises: DataError if fewer than four documents are long enough.
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


def task_files(items: list[dict[str, object]]) -> dict[str, str]:
    """File name -> content: the items as JSON lines, and the lm-eval task file that reads them."""
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
    return {
        "cloze.jsonl": "".join(json.dumps(item) + "\n" for item in items),
        "cloze.yaml": yaml.safe_dump(task, sort_keys=False),
    }
