"""Models on benchmarks and texts: measured item by item, resumable, on any number of ranks, and compared."""

import argparse
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.launch import read_launch
from megalite.config.screen import screen
from megalite.evaluation.comparison import Comparison
from megalite.evaluation.evaluation_folder import STATE, EvaluationFolder
from megalite.evaluation.fingerprint import model_fingerprint
from megalite.evaluation.json_output import check_json_output, write_json
from megalite.evaluation.lm_eval_tasks import (
    LmEvalOptions,
    ask_tasks,
    load_lm,
    measure,
    settle_network,
    task_facts,
)
from megalite.evaluation.local_tasks import AskedTask, given_files
from megalite.evaluation.progress import item_progress
from megalite.evaluation.ranks import Ranks
from megalite.evaluation.results_page import results_page
from megalite.evaluation.results_table import print_comparison
from megalite.evaluation.text_task import TextTask, measure_text, text_tasks
from megalite.files.model_folder import model_folder_of
from megalite.files.place import check_place
from megalite.files.whole_file import whole_file
from megalite.huggingface.load import load_config, load_tokenizer
from megalite.huggingface.model_folder import check_model_folder
from megalite.training.supervision.stop import Stop

DATA_VARIABLE = "MEGALITE_EVAL_DATA"


@one_line_errors
def main() -> None:
    """``tools/evaluate.py``."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # our bar counts all questions of a task; read when tqdm is imported
    arguments = _arguments()
    if arguments.output is not None and arguments.output.suffix != ".json":
        check_place(arguments.output / STATE, arguments.models)
    elif arguments.output is not None:
        check_json_output(arguments.output, arguments.models)
        if len(arguments.models) > 1:
            raise ConfigError(
                f"--output {arguments.output}: one file is for one model; give a folder to compare several"
            )
    if os.environ.get("ACCELERATE_USE_CPU") and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        print(
            "accelerate starts one process on CPU; for N: torchrun --nproc-per-node N tools/evaluate.py",
            file=sys.stderr,
        )
    settle_network(arguments.models, arguments.tasks, arguments.data, given_files(arguments.data_file))
    with ExitStack() as stack:
        several = read_launch().world_size > 1
        if several:
            stack.enter_context(Stop()())  # the ranks end with their launcher
        ranks = Ranks.launched() if several else Ranks()
        folder = arguments.output
        if folder is None or folder.suffix == ".json":
            made = stack.enter_context(tempfile.TemporaryDirectory()) if ranks.first else ""
            folder = Path(ranks.from_first(made))
        comparison = _evaluate(arguments, folder, ranks)
        ranks.wait()
        if not ranks.first:
            return
        print_comparison(comparison, screen())
        if arguments.output is None:
            return
        if arguments.output.suffix == ".json":
            write_json(arguments.output, comparison.figures(arguments.models[0]))
            return
        write_json(folder / "results.json", comparison.to_json())
        with whole_file(folder / "results.html") as file:
            file.write(results_page(comparison).encode())
        screen().print(f"{folder / 'results.html'}, results.json; one line an item in */*.jsonl", highlight=False)


def _arguments() -> argparse.Namespace:
    parser = CommandParser(description="Measure Hugging Face models on benchmarks and texts, and compare them.")
    parser.add_argument(
        "models", nargs="+", type=model_folder_of, metavar="MODEL", help="a Hugging Face folder, or a name of the hub"
    )
    parser.add_argument(
        "--tasks", nargs="+", default=[], metavar="NAME|FILE.yaml", help="lm-eval's names, or task files"
    )
    parser.add_argument("--text", nargs="+", default=[], metavar="GLOB", help="bits per byte on these documents")
    parser.add_argument("--text_key", default="text")
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        default=[Path(part) for part in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if part],
        metavar="DIR",
        help=f"folders with the public data files of benchmarks, instead of the hub; by default ${DATA_VARIABLE}",
    )
    parser.add_argument(
        "--data_file", action="append", default=[], metavar="NAME=FILE", help="the data of one benchmark"
    )
    parser.add_argument(
        "--include_path", metavar="DIR", help="lm-eval's: a folder of your task files and their functions"
    )
    parser.add_argument("--num_fewshot", type=whole_number(0))
    parser.add_argument("--limit", type=whole_number(), help="items of each task, documents of each text")
    parser.add_argument("--apply_chat_template", action="store_true")
    parser.add_argument(
        "--batch_size", default=None, help="a number, or auto; by default auto on an accelerator, else 8"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="keep everything there, and go on from what is there"
    )
    arguments = parser.parse_args()
    if not arguments.tasks and not arguments.text:
        raise ConfigError("nothing to measure: give --tasks, --text or both")
    size = arguments.batch_size
    if size is not None and re.fullmatch(r"0*[1-9]\d{0,6}|auto(:\d{1,3})?", size, re.ASCII) is None:
        raise ConfigError(f"--batch_size {size}: give at least 1, or auto")
    for model in arguments.models:
        check_model_folder(model)
    return arguments


def _evaluate(a: argparse.Namespace, path: Path, ranks: Ranks) -> Comparison:
    """Measure what is not measured yet; every pair of the folder, on every rank."""
    texts = text_tasks(a.text, a.text_key, a.limit)
    given = given_files(a.data_file)
    options = {"num_fewshot": a.num_fewshot, "limit": a.limit, "apply_chat_template": a.apply_chat_template}
    if ranks.first:
        folder, asked, manager = _ask(a, path, texts, given, options)
    ranks.wait()
    if not ranks.first:  # reads what rank 0 has written, and the datasets that it has cached
        folder, asked, manager = _ask(a, path, texts, given, options, save=False)
    size = a.batch_size if a.batch_size is not None else _default_batch_size()
    for model in dict.fromkeys(a.models):
        tasks: list[AskedTask | TextTask] = [*asked, *texts]
        missing = [task for task in tasks if not folder.finished(model, task.name)]
        missing = ranks.from_first([task.name for task in missing])
        if not missing:
            continue
        try:
            _measure_model(
                model, [task for task in tasks if task.name in missing], folder, manager, size, options, ranks
            )
        except Exception:
            if ranks.first:
                folder.forget_unmeasured()
            raise
    return Comparison.of(folder)


def _ask(
    a: argparse.Namespace,
    path: Path,
    texts: list[TextTask],
    given: dict[str, list[str]],
    options: dict[str, Any],
    save: bool = True,
) -> tuple[EvaluationFolder, list[AskedTask], Any]:
    """Check everything that is asked for against what is there, and write down what will be measured."""
    text_facts = {text.name: text.facts() for text in texts}
    written = path / "tasks"
    EvaluationFolder(path, {})  # refused before anything is written
    for model in a.models:
        load_tokenizer(model, load_config(model))  # as a model that is not whole
    asked: list[AskedTask] = []
    manager = None
    if a.tasks:
        asked, manager = ask_tasks(a.tasks, a.data, given, written, a.include_path, a.num_fewshot)
    from importlib.metadata import version

    folder = EvaluationFolder(path, options | {"lm_eval": version("lm_eval")})
    for task in asked:
        folder.ask("tasks", task.name, task_facts(task, manager, a.limit))
    for name, facts in text_facts.items():
        folder.ask("tasks", name, facts)
    for model in a.models:
        folder.ask("models", model, {"fingerprint": model_fingerprint(model)})
    if save:
        folder.save()
    return folder, asked, manager


def _measure_model(
    model: str,
    tasks: list[Any],
    folder: EvaluationFolder,
    manager: Any,
    batch_size: int | str,
    options: dict[str, Any],
    ranks: Ranks,
) -> None:
    loaded = load_lm(model, batch_size, ranks)
    for task in tasks:
        journal = folder.journal(model, task.name, ranks.rank)
        with item_progress(f"{model}: {task.name}", ranks.first) as progress:
            if isinstance(task, TextTask):
                result, items = measure_text(loaded.model, loaded.tokenizer, task, journal, ranks, progress)
            else:
                loaded.on_progress = progress
                result, items = measure(loaded, task, manager, LmEvalOptions(**options), journal)
        if ranks.first:
            folder.finish(model, task.name, result, items)
        ranks.wait()
        if ranks.first:
            journal.remove()


def _default_batch_size() -> int | str:
    import torch

    return "auto" if torch.accelerator.is_available() else 8
