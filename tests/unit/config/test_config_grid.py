"""Grids that cannot be are refused with the arithmetic."""

import pytest

from megalite.config.errors import ConfigError
from megalite.config.grid import check_tensor_split, grid_shape
from megalite.config.model import ModelConfig

MODEL = ModelConfig(
    vocab_size=101,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def test_the_data_axis_takes_what_is_left() -> None:
    assert grid_shape(24, tensor_parallel_size=2, pipeline_parallel_size=3) == (3, 4, 2)


def test_a_world_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"world size 6 .* = 4"):
        grid_shape(6, tensor_parallel_size=2, pipeline_parallel_size=2)


def test_an_uneven_vocabulary_may_be_split() -> None:
    check_tensor_split(MODEL, 2)


@pytest.mark.parametrize(
    ("changes", "t", "key"),
    [
        ({}, 4, "num_key_value_heads=2"),
        ({"num_key_value_heads": 4}, 8, "num_attention_heads=4"),
        ({"intermediate_size": 49}, 2, "intermediate_size=49"),
    ],
)
def test_heads_and_features_that_do_not_divide_are_refused(changes: dict[str, int], t: int, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} does not divide by parallel.tensor_parallel_size={t}"):
        check_tensor_split(MODEL.model_copy(update=changes), t)
