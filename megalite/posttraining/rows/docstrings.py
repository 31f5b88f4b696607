"""Make chat, preference and question rows from the docstrings of installed packages, so that examples need no download.

The rows are templates, not conversations between people. A question names a function or shows its signature; the answer is
the first paragraph of its docstring. In a preference pair, the rejected answer is the same words in random order. A question
with a solution asks for the number of parameters. The rows are enough to try the commands and to teach a small model the
form of a chat, not to train an assistant. The packages are parsed, not imported.
"""

import ast
import hashlib
import json
import os
import random
import sysconfig
import warnings
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.config.screen import screen
from megalite.files.whole_folder import check_output, whole_folder

LARGEST_FILE = 400_000
SHORTEST, LONGEST = 30, 400
"""Minimum and maximum number of characters in an answer."""
NOT_READ = {"test", "tests", "testing", "idlelib", "lib2to3", "site-packages", "_vendor", "vendored"}
VALID_SHARE = 0.05
ROWS, SPLITS = ("chats", "pairs", "questions"), ("train", "valid")
ASKED = (
    "What does the Python function `{name}` in `{module}` do?",
    "Explain `{module}.{name}` in a few words.",
    "I found `{signature}` in `{module}`. What is it for?",
)


class Documented(NamedTuple):
    """A documented function; ``answer`` is the first paragraph of its docstring."""

    module: str
    name: str
    signature: str
    parameters: int
    answer: str


@one_line_errors
def main() -> None:
    """``megalite make-chat-rows``."""
    parser = CommandParser(
        description="Make chat, preference and question rows from the docstrings of installed Python packages."
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--max_rows", type=whole_number(), default=4000, help="functions to use, spread over all packages"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    make_rows(arguments.output, arguments.max_rows, screen(), arguments.overwrite)


def make_rows(output: Path, max_rows: int, console: Console, overwrite: bool = False) -> None:
    """Write ``{chats,pairs,questions}-{train,valid}.jsonl`` into ``output``, in one atomic step.

    The hash of its answer decides whether a function is used for validation, so that no answer is in both splits.

    Raises: DataError if the output exists or no function is found.
    """
    if max_rows < 1:
        raise ConfigError(f"--max_rows {max_rows}: give at least 1")
    check_output(output, [f"{kind}-{split}.jsonl" for kind in ROWS for split in SPLITS], overwrite)
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    # The hash mixes the packages, so that reading can stop as soon as there are enough functions.
    files = sorted({item for root in roots for item in _sources(root)}, key=lambda item: (_digest(item[1]), item[0]))
    found: dict[str, Documented] = {}
    with progress_bar(console) as bar:
        task = bar.add_task("reading docstrings", total=max_rows)
        for path, module in files:
            found |= {
                function.answer: function for function in functions_of(path, module) if function.answer not in found
            }
            bar.update(task, completed=len(found))
            if len(found) >= max_rows:
                break
    functions = list(found.values())[:max_rows]
    if len(functions) < 2:
        raise DataError(f"{', '.join(map(str, roots))}: no documented functions")
    table = Table(title=f"rows from docstrings: {output}", title_justify="left")
    for title in ("file", "rows"):
        table.add_column(title)
    with whole_folder(output) as partial:
        for kind, make in zip(ROWS, (chats, pairs, questions), strict=True):
            for split in SPLITS:
                chosen = [item for item in functions if is_held_out(item) == (split == "valid")]
                rows = make(chosen)
                _write(partial / f"{kind}-{split}.jsonl", rows)
                table.add_row(f"{kind}-{split}.jsonl", f"{len(rows):,}")
    console.print(table)


def progress_bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def chats(functions: list[Documented]) -> list[dict[str, Any]]:
    """``messages``: a question about a function and its answer."""
    return [
        {"messages": [{"role": "user", "content": _question(item)}, {"role": "assistant", "content": item.answer}]}
        for item in functions
    ]


def pairs(functions: list[Documented]) -> list[dict[str, Any]]:
    """``prompt``, ``chosen``, ``rejected``: the answer, and its words in random order."""
    rows = []
    for item in functions:
        words = item.answer.split()
        random.Random(item.answer).shuffle(words)
        if (shuffled := " ".join(words)) != item.answer:
            rows.append({"prompt": _question(item), "chosen": item.answer, "rejected": shuffled})
    return rows


def questions(functions: list[Documented]) -> list[dict[str, Any]]:
    """``question``, ``answer``: the number of parameters."""
    return [
        {
            "question": f"How many parameters does this Python function have?\n\ndef {item.signature}: ...",
            "answer": f"#### {item.parameters}",
        }
        for item in functions
    ]


def functions_of(path: Path, module: str) -> Iterator[Documented]:
    """Yield the public functions of a source file whose docstrings have a suitable length."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            if path.stat().st_size > LARGEST_FILE:
                return
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        paragraph = cleandoc(ast.get_docstring(node) or "").partition("\n\n")[0]
        answer = " ".join(paragraph.split())
        if not SHORTEST <= len(answer) <= LONGEST or "<|" in answer:
            continue
        arguments = node.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
        signature = f"{node.name}({ast.unparse(arguments)})"
        if len(signature) <= SHORTEST * 5:
            yield Documented(module, node.name, signature, len(names) + len(stars), answer)


def is_held_out(function: Documented) -> bool:
    """Whether a function is used for validation."""
    return int(_digest("held out " + function.answer)[:8], 16) < VALID_SHARE * 2**32


def _sources(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the source files below a folder, each with its module name."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in NOT_READ]
        package = Path(folder).relative_to(root).parts
        for name in names:
            module, dot, suffix = name.rpartition(".")
            if dot and suffix == "py" and module not in NOT_READ:
                yield Path(folder, name), ".".join(part for part in (*package, module) if part != "__init__")


def _question(function: Documented) -> str:
    wording = ASKED[int(_digest(function.name)[:4], 16) % len(ASKED)]
    return wording.format(name=function.name, module=function.module, signature=function.signature)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
