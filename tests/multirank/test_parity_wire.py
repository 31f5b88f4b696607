"""The bytes that real ranks send equal the plan, which counts them on the meta device."""

from pathlib import Path

import pytest

from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.parity.case import Case
from megalite.parity.launch import run_on_ranks
from megalite.parity.matrix import DEFAULT_CONFIG
from megalite.parity.on_ranks import engine_of, own_batches
from megalite.parity.wire import NOTHING_KEPT, WireCounter
from megalite.planning.communication import wire_bytes

TINY = Path(__file__).parents[2] / "examples/tiny/pretrain.yaml"


def counted_and_reckoned(base: RunConfig, layout: str) -> tuple[float, float]:
    case = Case.parse(layout)
    engine, _ = engine_of(base, case, **(NOTHING_KEPT if case.zero_stage == 3 else {}))
    config, mesh = engine.config, engine.mesh
    engine.train_step(own_batches(config, mesh, 0), 1e-3)  # shapes are told to the next stage once
    with WireCounter() as counter:
        engine.train_step(own_batches(config, mesh, 1), 1e-3)
    return sum(counter.sent.values()), wire_bytes(config, mesh.shape, case.zero_stage).total


@pytest.mark.parametrize(
    "layout",
    [
        "d2 zero0",
        "d2 zero1",
        "d2 zero2",
        "d2 zero3",
        "t2 zero0",
        "t2 sp zero0",
        "t4 sp full zero0",
        "c2 zero0",
        "c2 t2 zero3",
        "p2 zero0",
        "p2 t2 zero0",
        "p2 t2 sp zero1",
        "p2 untied zero0",
    ],
)
def test_the_busiest_rank_sends_what_is_planned(layout: str) -> None:
    base = load_run_config(DEFAULT_CONFIG, [])
    results = run_on_ranks(counted_and_reckoned, Case.parse(layout).world_size, base, layout)
    assert max(counted for counted, _ in results) == pytest.approx(results[0][1], rel=0.01)


def test_at_a_real_width_the_rest_is_not_seen() -> None:
    base = load_run_config(TINY, ["training.precision=fp32", "batch.global_batch_size=16"])
    for layout in ("t2 zero0", "p2 zero0", "d2 zero3"):
        counted, reckoned = run_on_ranks(counted_and_reckoned, 2, base, layout)[0]
        assert counted == pytest.approx(reckoned, rel=1e-4), layout
