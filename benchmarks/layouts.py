"""Two ranks as tensor, sequence, pipeline, context or ZeRO-3 axis, relative to two data-parallel ranks.

``python benchmarks/layouts.py`` starts the ranks itself. All engines live in one job and their steps are interleaved, so
that a noisy machine disturbs all alike; every one trains the same global batch. Beside the speeds stand the bytes that a
rank sends in a step, counted, and as planned by ``megalite.planning.communication``.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from deepspeed.utils import groups
from rich.console import Console
from rich.table import Table

from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.parity.case import Case
from megalite.parity.launch import run_on_ranks
from megalite.parity.on_ranks import engine_of, own_batches
from megalite.parity.wire import NOTHING_KEPT, WireCounter
from megalite.planning.communication import wire_bytes
from megalite.training.engine import Engine

REPOSITORY = Path(__file__).parents[1]
LAYOUTS = ("d2 zero0", "t2 zero0", "t2 sp zero0", "p2 zero0", "c2 zero0", "d2 zero1", "d2 zero2", "d2 zero3")


def measure(base: RunConfig, rounds: int, threads: int) -> list[tuple[str, list[float], float, float]]:
    """On every rank: layout, seconds of every round, bytes counted and by the formula."""
    torch.set_num_threads(threads)
    engines = [(text, *_engine(base, text)) for text in LAYOUTS]
    counted = {}
    for text, engine, config in engines:
        _switch_to(engine)  # the first step warms up, the second is counted
        engine.train_step(own_batches(config, engine.mesh, 0), 1e-4)
        with WireCounter() as counter:
            engine.train_step(own_batches(config, engine.mesh, 1), 1e-4)
        counted[text] = float(sum(counter.sent.values()))
    seconds: dict[str, list[float]] = {text: [] for text in LAYOUTS}
    for number in range(rounds):
        for text, engine, config in engines:
            _switch_to(engine)
            batches = own_batches(config, engine.mesh, number)
            torch.distributed.barrier()
            began = time.perf_counter()
            engine.train_step(batches, 1e-4)
            torch.distributed.barrier()
            seconds[text].append(time.perf_counter() - began)
    return [
        (text, seconds[text], counted[text], wire_bytes(config, engine.mesh.shape, engine.zero_stage).total)
        for text, engine, config in engines
    ]


def _engine(base: RunConfig, text: str) -> tuple[Engine, RunConfig]:
    case = Case.parse(text)
    engine, _ = engine_of(base, case, **(NOTHING_KEPT if case.zero_stage == 3 else {}))
    return engine, engine.config


def _switch_to(engine: Engine) -> None:
    """DeepSpeed keeps the groups of the engine made last in a global; only here do several engines live in one process."""
    groups.mpu = engine.deepspeed.mpu


def main() -> None:
    """Start two ranks, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=REPOSITORY / "examples/tiny/pretrain.yaml")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    arguments = parser.parse_intermixed_args()
    base = load_run_config(arguments.config, arguments.overrides)
    results = run_on_ranks(measure, 2, base, arguments.rounds, arguments.threads, timeout_seconds=1800)
    table = Table(
        "two ranks as",
        "ms a step",
        "speed of d2 zero0",
        "MB sent",
        "formula",
        "counted / formula",
        title_justify="left",
    )
    baseline = results[0][0][1]
    for index, (text, seconds, _, formula) in enumerate(results[0]):
        sent = max(result[index][2] for result in results)
        ratio = statistics.median(a / b for a, b in zip(baseline, seconds, strict=True))
        cells = [f"{statistics.median(seconds) * 1e3:.0f}", f"{ratio:.2f}", f"{sent / 1e6:.2f}", f"{formula / 1e6:.2f}"]
        table.add_row(text, *cells, f"{sent / formula:.3f}")
    Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
