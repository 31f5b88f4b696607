"""Grids that cannot be are refused with the arithmetic."""

from pathlib import Path
from typing import Any

import pytest

from megalite.config.errors import ConfigError
from megalite.config.grid import grid_shape
from megalite.config.layout import check_layout
from megalite.config.schema import ParallelSection
from runs import run_config

TENSOR, PIPE, CONTEXT = "tensor_parallel_size", "pipeline_parallel_size", "context_parallel_size"


def check(parallel: dict[str, Any], world_size: int = 8, zero_stage: int = 0, **sections: Any) -> None:
    config = run_config(Path("unused"), parallel=parallel, **sections)
    check_layout(config, grid_shape(world_size, config.parallel), zero_stage)


def test_the_data_axis_takes_what_is_left() -> None:
    parallel = ParallelSection(tensor_parallel_size=2, pipeline_parallel_size=3, context_parallel_size=2)
    shape = grid_shape(48, parallel)
    assert shape == (3, 4, 2, 2)
    assert (shape.world_size, shape.replicas) == (48, 8)


def test_what_divides_is_let_through() -> None:
    check({TENSOR: 2, PIPE: 2, CONTEXT: 2, "sequence_parallel": True}, zero_stage=1)
    check({TENSOR: 4}, zero_stage=3)  # two key/value heads, each on two ranks; a vocabulary of 61 is padded


@pytest.mark.parametrize(
    ("parallel", "more", "message"),
    [
        ({TENSOR: 3}, {}, r"world size 8 is not a multiple of .*=3 x .*=1 x .*=1 = 3; start a multiple of 3"),
        ({TENSOR: 8}, {}, r"num_attention_heads=4 is not a multiple of .*=8 \(4 = 0 x 8 \+ 4\)"),
        ({TENSOR: 4}, {"model": {"intermediate_size": 50}}, r"intermediate_size=50 .* \(50 = 12 x 4 \+ 2\)"),
        (
            {TENSOR: 4},
            {"model": {"num_attention_heads": 12, "num_key_value_heads": 6, "hidden_size": 48}},
            "num_key_value_heads=6 and .*=4: neither divides the other",
        ),
        ({PIPE: 4}, {}, "pipeline_parallel_size=4 is more than model.num_hidden_layers=2"),
        (
            {PIPE: 4, "pipeline_split": [1, 1, 0, 0]},
            {},
            "pipeline_parallel_size=4 is more than model.num_hidden_layers=2",
        ),
        ({PIPE: 2, "pipeline_split": [1, 2]}, {}, r"2 stages of 1 \+ 2 = 3 layers"),
        (
            {PIPE: 2, "pipeline_split": [0, 2]},
            {},
            r"0 \+ 2 = 2 layers; .* 2 stages of at least one layer that add up to 2",
        ),
        ({PIPE: 2, "pipeline_split": [2]}, {}, r"1 stages of 2 = 2 layers; .* 2 stages of at least one"),
        ({"pipeline_split": [1, 1]}, {}, "pipeline_parallel_size=1 and .* 1 stages of at least one layer"),
        ({PIPE: 2}, {"zero_stage": 2}, "pipeline_parallel_size=2 with zero_optimization.stage=2"),
        ({"sequence_parallel": True}, {}, "no tensor axis"),
        (
            {CONTEXT: 4, "sequence_parallel": True, TENSOR: 2},
            {"data": {"sequence_length": 12}},
            r"=4 x .*=2 .* = 8; use 8 or 16",
        ),
        ({CONTEXT: 8}, {}, "= 4 heads per rank are not a multiple of parallel.context_parallel_size=8"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(parallel: dict, more: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(parallel, **more)
