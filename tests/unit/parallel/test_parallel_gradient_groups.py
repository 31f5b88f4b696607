"""Every parameter of the model declares over which ranks its gradient is summed."""

from dataclasses import replace
from typing import Any

import pytest
from thread_ranks import ThreadRanks

from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.gradient_groups import GradientGroups, check_data_parallel_group, gradient_groups
from megalite.parallel.mesh import Mesh

CONFIG = ModelConfig(
    vocab_size=29,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    attention_bias=True,
)
SHARED_HEADS = ("k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias")
"""Two key/value heads on four ranks: two neighbours hold the same head."""
WHOLE = ("norm.weight", "o_proj.bias")


def declared(sequence_parallel: bool) -> dict[str, GradientGroups]:
    mesh = Mesh.create(ParallelSection(tensor_parallel_size=4, sequence_parallel=sequence_parallel))
    named = dict(named_hf_parameters(build_model(CONFIG, mesh, seed=7)))
    check_data_parallel_group(named.values(), mesh)
    return {name: gradient_groups(parameter) for name, parameter in named.items()}


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_every_parameter_declares_its_groups(sequence_parallel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    results = ThreadRanks(8, monkeypatch).run(lambda: declared(sequence_parallel))
    for rank, groups in enumerate(results):
        tensor_rank, first = rank % 4, rank // 4 * 4
        neighbours, all_four = (rank // 2 * 2, rank // 2 * 2 + 1), tuple(range(first, first + 4))
        for name, group in groups.items():
            assert group.data_parallel == (tensor_rank, tensor_rank + 4), name
            assert group.norm == all_four, name
            if name.endswith(SHARED_HEADS):
                assert (group.backward, group.counts_in_norm) == (neighbours, rank % 2 == 0), name
            elif name.endswith(WHOLE):
                assert group.backward == (all_four if sequence_parallel else None), name
                assert group.counts_in_norm == (tensor_rank == 0), name
            else:
                assert (group.backward, group.counts_in_norm) == (None, True), name


def test_a_group_that_deepspeed_does_not_average_over_is_seen() -> None:
    mesh = Mesh.single()
    ((_, parameter), *_) = named_hf_parameters(build_model(CONFIG, mesh, seed=7))
    check_data_parallel_group([parameter], mesh)
    experts: Any = "experts"
    parameter.gradient_groups = replace(gradient_groups(parameter), data_parallel=experts)  # type: ignore[attr-defined]
    with pytest.raises(AssertionError):
        check_data_parallel_group([parameter], mesh)
