"""Chat, preference and question rows that can be made on every machine: from the functions of installed packages.

What is made, honestly: templates, not conversations between people. The question names a function or shows its
signature; the answer is the first paragraph of its docstring, as its authors wrote it. In a pair, the rejected answer is
the same words in a drawn order. A question to be checked asks how many parameters a signature has. Good for seeing
the road work, and for teaching a small model the form of a chat; not for making an assistant. Nothing is imported or
run; the texts stay their authors' and are read in place.
"""

import ast
import hashlib
import json
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
"""Characters of an answer."""
NOT_READ = {"test", "tests", "testing", "idlelib", "lib2to3", "_vendor", "vendored"}
VALID_SHARE = 0.05
ROWS, SPLITS = ("chats", "pairs", "questions"), ("train", "valid")
ASKED = (
    "What does the Python function `{name}` in `{module}` do?",
    "Explain `{module}.{name}` in a few words.",
    "I found `{signature}` in `{module}`. What is it for?",
)


class Documented(NamedTuple):
    """One function with a docstring."""

    module: str
    name: str
    signature: str
    parameters: int
    says: str


@one_line_errors
def main() -> None:
    """``tools/make_chat_rows.py``."""
    parser = CommandParser(
        description="Make chat, preference and question rows from the docstrings of installed Python packages."
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--max_rows", type=whole_number(), default=4000, help="functions to take, evenly over the packages"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    make_rows(arguments.output, arguments.max_rows, screen(), arguments.overwrite)


def make_rows(output: Path, max_rows: int, console: Console, overwrite: bool = False) -> None:
    """Write ``{chats,pairs,questions}-{train,valid}.jsonl`` into ``output``, as a whole or not at all.

    A function is in the validation files by the hash of its answer, so that no answer is in both.

    Raises: DataError where the output exists or nothing is found.
    """
    if max_rows < 1:
        raise ConfigError(f"--max_rows {max_rows}: take at least 1")
    check_output(output, [f"{kind}-{split}.jsonl" for kind in ROWS for split in SPLITS], overwrite)
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    # Files in an order that mixes all packages, so that reading can end as soon as there is enough.
    files = sorted({item for root in roots for item in _sources(root)}, key=lambda item: _digest(item[1]))
    found: dict[str, Documented] = {}
    with progress_bar(console) as bar:
        task = bar.add_task("reading docstrings", total=max_rows)
        for path, module in files:
            found |= {function.says: function for function in functions_of(path, module) if function.says not in found}
            bar.update(task, completed=len(found))
            if len(found) >= max_rows:
                break
    functions = list(found.values())[:max_rows]
    if len(functions) < 2:
        raise DataError(f"{', '.join(map(str, roots))}: no functions with docstrings there")
    table = Table(title=f"rows made from docstrings: {output}", title_justify="left")
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
    """A bar of rows, on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def chats(functions: list[Documented]) -> list[dict[str, Any]]:
    """``messages``: a question about a function, and its docstring's first paragraph."""
    return [
        {"messages": [{"role": "user", "content": _question(item)}, {"role": "assistant", "content": item.says}]}
        for item in functions
    ]


def pairs(functions: list[Documented]) -> list[dict[str, Any]]:
    """``prompt``, ``chosen``, ``rejected``: the paragraph against its own words in a drawn order."""
    rows = []
    for item in functions:
        words = item.says.split()
        random.Random(item.says).shuffle(words)
        if (shuffled := " ".join(words)) != item.says:
            rows.append({"prompt": _question(item), "chosen": item.says, "rejected": shuffled})
    return rows


def questions(functions: list[Documented]) -> list[dict[str, Any]]:
    """``question``, ``answer``: how many parameters, which can be checked."""
    return [
        {
            "question": f"How many parameters does this Python function have?\n\ndef {item.signature}: ...",
            "answer": f"#### {item.parameters}",
        }
        for item in functions
    ]


def functions_of(path: Path, module: str) -> Iterator[Documented]:
    """The public functions of a source file whose docstrings say enough, and not too much."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        paragraph = cleandoc(ast.get_docstring(node) or "").partition("\n\n")[0]
        says = " ".join(paragraph.split())
        if not SHORTEST <= len(says) <= LONGEST or "<|" in says:
            continue
        arguments = node.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
        signature = f"{node.name}({ast.unparse(arguments)})"
        if len(signature) <= SHORTEST * 5:
            yield Documented(module, node.name, signature, len(names) + len(stars), says)


def is_held_out(function: Documented) -> bool:
    """Whether a function's rows are for validation."""
    return int(_digest("held out " + function.says)[:8], 16) < VALID_SHARE * 2**32


def _sources(root: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).with_suffix("")
        if NOT_READ & set(inside.parts) or ("site-packages" in inside.parts) or path.stat().st_size > LARGEST_FILE:
            continue
        yield path, ".".join(part for part in inside.parts if part != "__init__")


def _question(function: Documented) -> str:
    wording = ASKED[int(_digest(function.name)[:4], 16) % len(ASKED)]
    return wording.format(name=function.name, module=function.module, signature=function.signature)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
