"""The parity matrix: every allowed layout for some steps against one process, as a table."""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from megalite.config.command_line import CommandParser
from megalite.config.errors import DivergenceError, one_line_errors
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.parity.case import FEATURES, Case, allowed_cases, fits
from megalite.parity.on_ranks import Errors, compare_on_rank
from megalite.parity.ranks import RankError, run_on_ranks
from megalite.parity.reference import train_plainly

REPOSITORY = Path(__file__).parents[2]
DEFAULT_CONFIG = REPOSITORY / "examples/parity.yaml"
TOLERANCES = {
    "fp32": Errors(loss=1e-5, gradient=1e-4, norm=1e-5, weight=1e-3),
    "bf16": Errors(loss=3e-2, gradient=1e-1, norm=3e-2, weight=1e-1),
}
"""Sums in another order differ by rounding; Adam turns a rounding difference of a tiny gradient into one of its step."""
NAMED = (
    "t4 documents zero0",
    "t2 sp untied zero3",
    "p2 untied zero0",
    "p2 d2 t2 sp documents zero1",
    "p2 c2 t2 selective documents zero1",
    "d2 c2 t2 sp full documents zero3",
    "p2 t2 bf16 zero1",
    "t2 c2 bf16 zero3",
)
"""Features on top of the layouts; the layouts alone run without them."""
WIDTH = 110
"""Columns of the table where it goes to a file."""
REFERENCE_FEATURES = frozenset({"documents", "untied"})
"""The features that change what is computed, and so need a reference of their own."""


@one_line_errors
def main() -> None:
    """Run the cases, print a row each, and end with exit code 1 where one is out of tolerance."""
    parser = CommandParser(description="Train every layout on this machine's processes against one process.")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help="YAML of a run; its model is what is proven"
    )
    parser.add_argument(
        "--layouts",
        nargs="+",
        metavar="LAYOUT",
        help=f"such as 't2 zero3' 'p2 d2 t2 sp zero1'; features: {' '.join(FEATURES)}. By default all that are allowed",
    )
    parser.add_argument("--max_ranks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--sequence_length", type=int, help="instead of the config's")
    parser.add_argument("--timeout_seconds", type=int, default=180, help="for one layout")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_args()
    length = [f"data.sequence_length={arguments.sequence_length}"] if arguments.sequence_length else []
    words = [*(arguments.layouts or []), *arguments.overrides]  # --layouts takes all that follows it
    base = load_run_config(arguments.config, [word for word in words if "=" in word] + length)
    if arguments.layouts:
        cases = [Case.parse(text) for text in words if "=" not in text]
    else:
        cases = [*allowed_cases(base, arguments.max_ranks)]
        cases += [
            case for case in map(Case.parse, NAMED) if case.world_size <= arguments.max_ranks and fits(case, base)
        ]
    for case in cases:
        case.config(base)  # refuse all that cannot be before the first process starts
    console = Console(soft_wrap=True)
    console = console if console.is_terminal else Console(soft_wrap=True, width=WIDTH)
    failed = run_matrix(base, cases, arguments.steps, arguments.timeout_seconds, console)
    if failed:
        raise DivergenceError(
            f"{len(failed)} of {len(cases)} layouts are out of tolerance: {', '.join(map(str, failed))}"
        )


def run_matrix(
    base: RunConfig, cases: Sequence[Case], steps: int, timeout_seconds: float, console: Console
) -> list[Case]:
    """Print a row for each case as it is done; the cases that are out of tolerance or did not end."""
    table = Table(title=f"errors against one process over {steps} steps", title_justify="left")
    for column in ("layout", "ranks", "loss", "gradient", "norm", "weights", "seconds", ""):
        table.add_column(column, no_wrap=True)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        reference = functools.cache(functools.partial(_reference, base, steps, Path(folder)))
        for number, case in enumerate(cases, start=1):
            began = time.perf_counter()
            try:
                path = reference(case.features & REFERENCE_FEATURES)
                errors = run_case(base, case, steps, path, timeout_seconds)
                verdict = out_of_tolerance(case, errors)
                cells = [f"{errors.loss:.1e}", f"{errors.gradient:.1e}", f"{errors.norm:.1e}", f"{errors.weight:.1e}"]
            except RankError as error:
                verdict, cells = str(error).strip().splitlines()[-1], ["-"] * 4
            seconds = f"{time.perf_counter() - began:.1f}"
            table.add_row(str(case), str(case.world_size), *cells, seconds, "OFF" if verdict else "ok")
            console.print(
                f"[{number}/{len(cases)}] {case}: {verdict or 'ok'} ({seconds} s)", highlight=False, markup=False
            )
            if verdict:
                failed.append(case)
    console.print(table)
    return failed


def run_case(
    base: RunConfig,
    case: Case,
    steps: int,
    reference: Path,
    timeout_seconds: float,
    sabotage: Callable[[], None] | None = None,
) -> Errors:
    """The largest errors over all ranks. Raises: RankError where a rank fails or hangs."""
    arguments = (base, case, steps, reference, sabotage)
    everyones = run_on_ranks(compare_on_rank, case.world_size, *arguments, timeout_seconds=timeout_seconds)
    return functools.reduce(Errors.worst, everyones)


def out_of_tolerance(case: Case, errors: Errors) -> str:
    """What is too far off, in words; empty where nothing is."""
    limits = TOLERANCES["bf16" if "bf16" in case.features else "fp32"]
    found = [
        f"{key} is off by {getattr(errors, key):.1e}" + (f" in {errors.worst_gradient}" if key == "gradient" else "")
        for key in ("loss", "gradient", "norm", "weight")
        if not getattr(errors, key) <= getattr(limits, key)
    ]
    return "; ".join(found)


def _reference(base: RunConfig, steps: int, folder: Path, features: frozenset[str]) -> Path:
    path = folder / ("-".join(sorted(features)) or "plain")
    path.mkdir()
    train_plainly(Case(features=features).config(base), steps).write(path)
    return path
