"""Runs one case against the reference and judges its errors."""

import functools
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from megalite.config.errors import ConfigError
from megalite.config.schema import RunConfig
from megalite.parity.case import Case
from megalite.parity.launch import RankError, RankTimeoutError, run_on_ranks
from megalite.parity.on_ranks import Errors, compare_on_rank
from megalite.parity.reference import Trace, train_plainly

TOLERANCES = {
    "fp32": Errors(loss=1e-5, gradient=1e-4, norm=1e-5, weight=1e-3),
    "bf16": Errors(loss=3e-2, gradient=2e-1, norm=3e-2, weight=2e-1),
}
"""Sums in another order differ by rounding; Adam amplifies rounding differences of tiny gradients."""
REFERENCE_FEATURES = frozenset({"documents", "untied", "vocabulary"})
"""Features that change the result, and so need their own reference."""


class Status(StrEnum):
    """Outcome of a case."""

    OK = "ok"
    OFF = "out of tolerance"
    HUNG = "hung"
    FAILED = "failed"
    UNDIVIDED = "batch does not divide"


def try_case(
    base: RunConfig, case: Case, steps: int, reference: Callable[[frozenset[str]], Path], timeout_seconds: float
) -> tuple[Status, list[str], str]:
    """Returns the status, the four cells of the table, and a message."""
    nothing = ["-"] * 4
    try:
        case.check_batch(base)
    except ConfigError as error:
        return Status.UNDIVIDED, nothing, str(error)
    try:
        errors = run_case(base, case, steps, reference(case.features & REFERENCE_FEATURES), timeout_seconds)
    except RankTimeoutError as error:
        return Status.HUNG, nothing, str(error)
    except RankError as error:
        return Status.FAILED, nothing, str(error).strip().splitlines()[-1]
    cells = [f"{error:.1e}" for error in (errors.loss, errors.gradient, errors.norm, errors.weight)]
    detail = out_of_tolerance(case, errors)
    return (Status.OFF if detail else Status.OK), cells, detail


def run_case(
    base: RunConfig,
    case: Case,
    steps: int,
    reference: Path,
    timeout_seconds: float,
    sabotage: Callable[[], None] | None = None,
) -> Errors:
    """Returns the largest errors over all ranks. Raises: RankError if a rank fails or hangs, or no rank holds a tensor."""
    arguments = (base, case, steps, reference, sabotage)
    everyones = run_on_ranks(compare_on_rank, case.world_size, *arguments, timeout_seconds=timeout_seconds)
    errors = functools.reduce(Errors.worst, everyones)
    if missing := sorted(Trace.read(reference).weights.keys() - errors.tensors):
        raise RankError(f"no rank holds {', '.join(missing)}")
    return errors


def out_of_tolerance(case: Case, errors: Errors) -> str:
    """Describes the errors out of tolerance; empty if there are none."""
    limits = TOLERANCES["bf16" if "bf16" in case.features else "fp32"]
    found = [
        f"{key} is off by {getattr(errors, key):.1e}" + (f" in {errors.worst_gradient}" if key == "gradient" else "")
        for key in ("loss", "gradient", "norm", "weight")
        if not getattr(errors, key) <= getattr(limits, key)
    ]
    return "; ".join(found)


def make_reference(base: RunConfig, steps: int, folder: Path, features: frozenset[str]) -> Path:
    """Trains one process with ``features``; returns the folder of its ``Trace``."""
    path = folder / ("-".join(sorted(features)) or "plain")
    path.mkdir()
    train_plainly(Case(features=features).config(base), steps).write(path)
    return path
