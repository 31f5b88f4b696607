import itertools
from pathlib import Path

import pytest

from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection
from megalite.model.pipeline_split import stage_bounds, stage_layers
from runs import run_config

SHAPES = {
    "small": {},
    "large vocabulary": {"vocab_size": 4000},
    "tied": {"vocab_size": 4000, "tie_word_embeddings": True},
    "one layer a head": {"vocab_size": 240},
}


@pytest.mark.parametrize("layers", range(1, 13))
@pytest.mark.parametrize("shape", SHAPES)
def test_the_pipeline_split_minimizes_the_largest_stage(shape: str, layers: int) -> None:
    model = run_config(Path("unused"), model={"num_hidden_layers": layers, **SHAPES[shape]}).model
    layer, head = 4 * 32 * 32 - 2 * 32 * 16 + 3 * 32 * 48, model.vocab_size * 32

    def busiest(counts: tuple[int, ...]) -> int:
        return max(*[count * layer for count in counts], counts[-1] * layer + head)

    for stages in range(1, min(layers, 8) + 1):
        got = tuple(stage_layers(model, ParallelSection(pipeline_parallel_size=stages)))
        cuts = ((0, *inner, layers) for inner in itertools.combinations(range(1, layers), stages - 1))
        splits = [tuple(end - start for start, end in itertools.pairwise(cut)) for cut in cuts]
        assert got in splits  # in order, each at least one layer, all of them
        assert busiest(got) == min(map(busiest, splits))


def test_of_equal_stages_the_later_takes_the_layer() -> None:
    model = run_config(Path("unused"), model={"num_hidden_layers": 10}).model
    assert stage_layers(model, ParallelSection(pipeline_parallel_size=4)) == [2, 3, 3, 2]  # the last has the head


def test_a_large_head_leaves_its_stage_fewer_layers() -> None:
    shape = {"vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32}
    model = ModelConfig(num_key_value_heads=8, num_hidden_layers=16, **shape)
    assert stage_layers(model, ParallelSection(pipeline_parallel_size=4)) == [5, 5, 5, 1]


def test_the_embedding_is_first_and_the_head_last() -> None:
    model = run_config(Path("unused"), model={"num_hidden_layers": 5, "vocab_size": 4000}).model
    assert stage_bounds(model, ParallelSection()) == [0, 8]
    assert stage_bounds(model, ParallelSection(pipeline_parallel_size=3)) == [0, 3, 5, 8]


def test_an_explicit_split_counts_decoder_layers() -> None:
    model = run_config(Path("unused"), model={"num_hidden_layers": 5}).model
    parallel = ParallelSection(pipeline_parallel_size=3, pipeline_split=(1, 3, 1))
    assert stage_bounds(model, parallel) == [0, 2, 5, 8]
