"""Every byte that a rank sends is in the formula of ``megalite.planning.communication``."""

from pathlib import Path

import pytest
import torch

from megalite.config.ds_config import merge_ds_config
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.parallel.mesh import Mesh
from megalite.parity.case import Case
from megalite.parity.matrix import DEFAULT_CONFIG
from megalite.parity.on_ranks import own_batches
from megalite.parity.ranks import run_on_ranks
from megalite.parity.wire import WireCounter
from megalite.planning.communication import wire_bytes
from megalite.training.pipeline_engine import build_engine

TINY = Path(__file__).parents[2] / "examples/tiny/pretrain.yaml"
PARTITIONED = ("stage3_param_persistence_threshold", "stage3_max_live_parameters", "stage3_max_reuse_distance")


def counted_and_reckoned(base: RunConfig, layout: str) -> tuple[float, float]:
    case = Case.parse(layout)
    config = case.config(base)
    mesh = Mesh.create(config.parallel)
    zero = {"stage": case.zero_stage} | (dict.fromkeys(PARTITIONED, 0) if case.zero_stage == 3 else {})
    ds_config = merge_ds_config(config, {"zero_optimization": zero}, mesh.shape, "yaml", "json")
    engine = build_engine(config, ds_config, mesh, torch.device("cpu"))
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
def test_the_busiest_rank_sends_what_the_formula_says(layout: str) -> None:
    base = load_run_config(DEFAULT_CONFIG, [])
    results = run_on_ranks(counted_and_reckoned, Case.parse(layout).world_size, base, layout)
    assert max(counted for counted, _ in results) == pytest.approx(results[0][1], rel=0.01)


def test_at_a_real_width_the_rest_is_not_seen() -> None:
    base = load_run_config(TINY, ["training.precision=fp32", "batch.global_batch_size=16"])
    for layout in ("t2 zero0", "p2 zero0", "d2 zero3"):
        counted, reckoned = run_on_ranks(counted_and_reckoned, 2, base, layout)[0]
        assert counted == pytest.approx(reckoned, rel=1e-4), layout
