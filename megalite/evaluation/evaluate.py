"""Measures models on benchmarks and texts, and compares them. Resumable, on any number of ranks."""

import argparse
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.launch import read_launch
from megalite.config.screen import screen
from megalite.evaluation.compare.comparison import Comparison
from megalite.evaluation.compare.page import results_page
from megalite.evaluation.compare.table import print_comparison
from megalite.evaluation.evaluation_folder import STATE, EvaluationFolder
from megalite.evaluation.fingerprint import model_fingerprint
from megalite.evaluation.measure.data_parallel import DataParallelGroup
from megalite.evaluation.measure.lm_eval_run import LmEvalOptions, load_lm, measure_task
from megalite.evaluation.measure.progress_bar import progress_bar
from megalite.evaluation.measure.text_task import TextTask, measure_text, text_tasks
from megalite.evaluation.tasks.data_files import LocalData
from megalite.evaluation.tasks.load import task_facts
from megalite.evaluation.tasks.request import choose_network, request_tasks
from megalite.evaluation.tasks.requested_task import RequestedTask
from megalite.files.json_file import check_json_output, write_json
from megalite.files.model_folder import model_folder_of
from megalite.files.place import check_place
from megalite.files.whole_file import whole_file
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_config, load_tokenizer
from megalite.training.supervision.signals import listening

DATA_VARIABLE = "MEGALITE_EVAL_DATA"


@dataclass(frozen=True)
class Evaluation:
    """The models and tasks of one command, and the folder that holds the results."""

    models: list[str]
    tasks: list[RequestedTask | TextTask]
    manager: Any
    """lm-eval's task manager, None without benchmarks."""
    options: LmEvalOptions
    batch_size: int | str
    folder: EvaluationFolder
    group: DataParallelGroup

    def run(self) -> Comparison:
        """Measure the missing pairs of model and task. Returns all pairs of the folder, on every rank."""
        for model in dict.fromkeys(self.models):
            names = self.group.broadcast([t.name for t in self.tasks if not self.folder.finished(model, t.name)])
            if not names:
                continue
            try:
                self._measure(model, [task for task in self.tasks if task.name in names])
            except Exception:
                if self.group.is_first:
                    self.folder.discard_if_empty()
                raise
        return Comparison.of(self.folder)

    def _measure(self, model: str, tasks: list[RequestedTask | TextTask]) -> None:
        lm = load_lm(model, self.batch_size, self.group)
        for task in tasks:
            journal = self.folder.journal(model, task.name, self.group.rank)
            with progress_bar(f"{model}: {task.name}", self.group.is_first) as lm.on_progress:
                if isinstance(task, TextTask):
                    result, items = measure_text(lm, task, journal)
                else:
                    result, items = measure_task(lm, task, self.manager, self.options, journal)
            if self.group.is_first:
                self.folder.finish(model, task.name, result, items)
            self.group.barrier()
            if self.group.is_first:
                journal.remove()


@one_line_errors
def main() -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")  # our own bar counts a task's questions; read when tqdm is imported
    arguments = _arguments()
    data = LocalData.of(arguments.data, arguments.data_file)
    as_file = arguments.output is not None and arguments.output.suffix == ".json"
    if as_file:
        check_json_output(arguments.output, arguments.models)
        if len(arguments.models) > 1:
            raise ConfigError(f"--output {arguments.output}: a file holds one model; give a folder to compare several")
    elif arguments.output is not None:
        check_place(arguments.output / STATE, arguments.models)
    if os.environ.get("ACCELERATE_USE_CPU") and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        print(
            "accelerate starts a single process on CPU; for N: torchrun --nproc-per-node N tools/evaluate.py",
            file=sys.stderr,
        )
    choose_network(arguments.models, arguments.tasks, data)
    with ExitStack() as stack:
        group = DataParallelGroup()
        if read_launch().world_size > 1:
            stack.enter_context(listening())  # the ranks end with their launcher
            group = DataParallelGroup.launched()
        folder = arguments.output
        if folder is None or as_file:
            created = stack.enter_context(tempfile.TemporaryDirectory()) if group.is_first else ""
            folder = Path(group.broadcast(created))
        if group.is_first:
            evaluation = _prepare(arguments, data, folder, group)
        group.barrier()
        if not group.is_first:  # reads what rank 0 has written, and the datasets that it has cached
            evaluation = _prepare(arguments, data, folder, group)
        comparison = evaluation.run()
        group.barrier()
        if not group.is_first:
            return
        print_comparison(comparison, screen())
        if arguments.output is None:
            return
        if as_file:
            write_json(arguments.output, comparison.figures(arguments.models[0]))
            return
        write_json(folder / "results.json", comparison.to_json())
        with whole_file(folder / "results.html") as file:
            file.write(results_page(comparison).encode())
        screen().print(f"{folder / 'results.html'}, results.json; one line per item in */*.jsonl", highlight=False)


def _arguments() -> argparse.Namespace:
    parser = CommandParser(description="Evaluate Hugging Face models on benchmarks and texts, and compare them.")
    parser.add_argument(
        "models",
        nargs="+",
        type=model_folder_of,
        metavar="MODEL",
        help="Hugging Face folder, run folder or name on the hub",
    )
    parser.add_argument(
        "--tasks", nargs="+", default=[], metavar="NAME|FILE.yaml", help="lm-eval's task names, or task files"
    )
    parser.add_argument("--text", nargs="+", default=[], metavar="GLOB", help="documents to measure bits per byte on")
    parser.add_argument("--text_key", default="text", help="JSON key or parquet column of the text")
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        default=[Path(part) for part in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if part],
        metavar="DIR",
        help=f"folders with the benchmarks' public data files, used instead of the hub; default: ${DATA_VARIABLE}",
    )
    parser.add_argument(
        "--data_file", action="append", default=[], metavar="NAME=FILE", help="data file of one benchmark"
    )
    parser.add_argument(
        "--include_path", metavar="DIR", help="as in lm-eval: folder with your task files and their Python functions"
    )
    parser.add_argument("--num_fewshot", type=whole_number(0), help="examples in the prompt; default: that of the task")
    parser.add_argument("--limit", type=whole_number(), metavar="N", help="items per task, documents per text")
    parser.add_argument("--apply_chat_template", action="store_true", help="use the model's chat template")
    parser.add_argument("--batch_size", metavar="N|auto", help="default: auto on an accelerator, 8 on CPU")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for all results, which a later run resumes; or FILE.json"
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


def _prepare(a: argparse.Namespace, data: LocalData, path: Path, group: DataParallelGroup) -> Evaluation:
    """Check everything in the request, and write it to the folder on rank 0."""
    texts = text_tasks(a.text, a.text_key, a.limit)
    text_facts = {text.name: text.facts() for text in texts}
    EvaluationFolder(path, {})  # refuse the folder before anything is written
    for model in a.models:
        load_tokenizer(model, load_config(model))  # refuse an incomplete model
    requested: list[RequestedTask] = []
    manager = None
    if a.tasks:
        requested, manager = request_tasks(a.tasks, data, path / "tasks", a.include_path, a.num_fewshot)
    from importlib.metadata import version

    options = LmEvalOptions(a.num_fewshot, a.limit, a.apply_chat_template)
    folder = EvaluationFolder(path, asdict(options) | {"lm_eval": version("lm_eval")})
    for task in requested:
        folder.add("tasks", task.name, task_facts(task, manager, a.limit))
    for name, facts in text_facts.items():
        folder.add("tasks", name, facts)
    for model in a.models:
        folder.add("models", model, {"fingerprint": model_fingerprint(model)})
    if group.is_first:
        folder.save()
    size = a.batch_size if a.batch_size is not None else _default_batch_size()
    return Evaluation(a.models, [*requested, *texts], manager, options, size, folder, group)


def _default_batch_size() -> int | str:
    import torch

    return "auto" if torch.accelerator.is_available() else 8
