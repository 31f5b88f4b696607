"""The parity command: trains every valid layout for some steps, compares it with one process, and prints a table."""

import functools
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import ConfigError, DivergenceError, one_line_errors
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.config.screen import screen
from megalite.config.section import shown
from megalite.parity.case import (
    CLIPPING,
    FEATURES,
    LEAST_EPS,
    PEAK_LR,
    WARMUP_STEPS,
    WEIGHT_DECAY,
    Case,
    allowed_cases,
    fits,
)
from megalite.parity.verdict import Status, make_reference, try_case

REPOSITORY = Path(__file__).parents[2]
DEFAULT_CONFIG = REPOSITORY / "examples/parity.yaml"
STEPS = 5
"""Enough for warm-up, peak and decay."""
NAMED = (
    "t4 documents zero0",
    "t2 sp untied zero3",
    "p2 untied zero0",
    "p2 d2 t2 sp documents zero1",
    "p2 c2 t2 selective documents zero1",
    "d2 c2 t2 sp full documents zero3",
    "p2 t2 bf16 zero1",
    "t2 c2 bf16 zero3",
    "p2 t2 d2 vocabulary zero1",
    "p3 d2 untied vocabulary zero1",
    "p4 t2 sp vocabulary zero1",
    "p5 untied zero1",
    "p6 vocabulary zero1",
    "p7 untied vocabulary zero1",
    "p8 untied documents zero1",
)
"""Cases with features, in addition to all layouts without features."""


MOST_RANKS = 64
"""Limit of the processes on one machine."""


@one_line_errors
def main() -> None:
    """Runs the cases and prints a row each; fails if one is out of tolerance, hangs, fails or cannot run."""
    parser = CommandParser(description="Train every parallel layout on this machine and compare it with one process.")
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        help="YAML of a run; its model is trained (default: examples/parity.yaml)",
    )
    parser.add_argument(
        "--layouts",
        nargs="+",
        metavar="LAYOUT",
        help=f"such as 't2 zero3' 'p2 d2 t2 sp zero1'; features: {' '.join(FEATURES)}. By default all that are allowed",
    )
    parser.add_argument(
        "--max_ranks", type=whole_number(1, MOST_RANKS), default=8, help="maximum number of ranks of a layout"
    )
    parser.add_argument("--steps", type=whole_number(1, 10000), default=STEPS, help="optimizer steps of each layout")
    parser.add_argument(
        "--sequence_length", type=whole_number(1, 1 << 20), help="replaces data.sequence_length of the configuration"
    )
    parser.add_argument(
        "--timeout_seconds", type=whole_number(1, 86400), default=180, help="time limit of one layout, in seconds"
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="keys of the configuration to change")
    arguments = parser.parse_args()
    length = [f"data.sequence_length={arguments.sequence_length}"] if arguments.sequence_length else []
    words = [*(arguments.layouts or []), *arguments.overrides]  # --layouts takes all that follows it
    base = load_run_config(arguments.config, [word for word in words if "=" in word] + length)
    layouts = [word for word in words if "=" not in word]
    if layouts and not arguments.layouts:
        raise ConfigError(f"command line: {shown(layouts[0])} is not section.key=value; layouts come after --layouts")
    if arguments.layouts:
        cases = [Case.parse(text) for text in layouts]
        for case in cases:
            _refuse_too_many(case)
            case.check_batch(base)
    else:
        cases = [*allowed_cases(base, arguments.max_ranks)]
        cases += [
            case for case in map(Case.parse, NAMED) if case.world_size <= arguments.max_ranks and fits(case, base)
        ]
    for case in cases:
        case.config(base)  # reports invalid cases before the first process starts
    console = screen()
    results = run_matrix(base, cases, arguments.steps, arguments.timeout_seconds, console)
    told = Counter(status for status in results.values() if status is not Status.OK)
    if told:
        failed = ", ".join(str(case) for case, status in results.items() if status is not Status.OK)
        counts = ", ".join(f"{count} {status}" for status, count in told.items())
        raise DivergenceError(f"{told.total()} of {len(cases)} layouts did not pass: {counts}: {failed}")


def _refuse_too_many(case: Case) -> None:
    if case.world_size > MOST_RANKS:
        raise ConfigError(
            f"layout '{case}': needs {case.world_size:,} processes; at most {MOST_RANKS} can run on one machine"
        )


def run_matrix(
    base: RunConfig, cases: Sequence[Case], steps: int, timeout_seconds: float, console: Console
) -> dict[Case, Status]:
    """Prints a row for each finished case. Raises: ConfigError if there is nothing to compare."""
    if not cases or steps < 1:
        raise ConfigError(f"{len(cases)} layouts over {steps} steps: nothing to compare; give at least one of each")
    table = Table(title=_title(steps), title_justify="left")
    for column in ("layout", "ranks", "loss", "gradient", "norm", "weights", "seconds", ""):
        table.add_column(column, no_wrap=True)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = functools.cache(functools.partial(make_reference, base, steps, Path(folder)))
        for number, case in enumerate(cases, start=1):
            began = time.perf_counter()
            results[case], cells, detail = try_case(base, case, steps, reference, timeout_seconds)
            seconds = f"{time.perf_counter() - began:.1f}"
            table.add_row(str(case), str(case.world_size), *cells, seconds, results[case])
            told = f"{results[case]}: {detail}" if detail else results[case]
            console.print(f"[{number}/{len(cases)}] {case}: {told} ({seconds} s)", highlight=False, markup=False)
    console.print(table)
    return results


def _title(steps: int) -> str:
    return (
        f"errors against one process over {steps} steps; all runs use lr {PEAK_LR:g} after {WARMUP_STEPS} steps of warm-up, "
        f"weight decay {WEIGHT_DECAY:g}, clipping {CLIPPING:g}, eps at least {LEAST_EPS:g}\n"
        f"loss in nats; gradient relative to a tensor's maximum; norm relative; weights relative to the sum of the rates"
    )
