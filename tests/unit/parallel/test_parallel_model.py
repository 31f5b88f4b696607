"""Loss and gradients of a model whose layers are split over ranks equal those of the whole one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from thread_ranks import ThreadRanks
from torch import Tensor
from torch.nn import functional as F

from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.cross_entropy import cross_entropy_sum
from megalite.parallel.gradient_groups import counts_in_norm
from megalite.parallel.linear import ColumnParallelLinear, RowParallelLinear
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import cut_slice, full_shape, join_slices, slicing_of
from runs import run_config

LENGTH = 8


def model_of(**changes: Any) -> ModelConfig:
    """29 tokens divide by no number of ranks; two key/value heads serve four queries."""
    shape = {"vocab_size": 29, "num_hidden_layers": 1, "attention_bias": True, "mlp_bias": True}
    return run_config(Path("unused"), model=shape | changes).model


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 29, (3, LENGTH + 1), generator=generator)
    labels = tokens[:, 1:].clone()
    labels[0, :5] = labels[2, 6:] = -100
    positions = torch.arange(LENGTH).repeat(3, 1)
    positions[1, 3:] = torch.arange(LENGTH - 3)
    return tokens[:, :-1], labels, positions


def loss_and_gradients(
    config: ModelConfig, mesh: Mesh, documents: bool, dtype: torch.dtype = torch.float32
) -> tuple[float, dict[str, Tensor]]:
    """Of this rank's stretch of the sequence, slices of gradients put together over the tensor axis."""
    model = build_model(config, mesh, seed=7, dtype=dtype)
    ids, labels, positions = batch()
    length = LENGTH // mesh.context_size
    mine = slice(mesh.context_rank * length, (mesh.context_rank + 1) * length)
    loss = model(ids[:, mine], positions if documents else None, labels[:, mine])
    loss.backward()
    gradients = {}
    for name, parameter in named_hf_parameters(model):
        assert parameter.grad is not None, name
        gradients[name] = join_slices(parameter.grad, slicing_of(parameter))
        assert gradients[name].shape == full_shape(parameter)
    return loss.item(), gradients


LAYOUTS = [
    {"tensor_parallel_size": 2},
    {"tensor_parallel_size": 4},
    {"tensor_parallel_size": 2, "sequence_parallel": True},
    {"tensor_parallel_size": 4, "sequence_parallel": True},
    {"context_parallel_size": 2},
    {"context_parallel_size": 4},
    {"tensor_parallel_size": 2, "context_parallel_size": 2, "sequence_parallel": True},
]
MODELS = {
    "tied with biases": {},
    "untied": {"tie_word_embeddings": False},
    "without biases": {"attention_bias": False, "mlp_bias": False},
    "one key/value head": {"num_key_value_heads": 1},
    "no grouped queries": {"num_key_value_heads": 4},
}
MASKED = {"untied", "one key/value head"}
"""Documents are masked in these."""


@pytest.mark.parametrize("shape", MODELS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_split_model_has_the_loss_and_gradients_of_the_whole(
    layout: dict[str, Any], shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, parallel, documents = model_of(**MODELS[shape]), ParallelSection(**layout), shape in MASKED
    loss, gradients = loss_and_gradients(config, Mesh.single(), documents)
    t, c = parallel.tensor_parallel_size, parallel.context_parallel_size
    ranks = ThreadRanks(t * c, monkeypatch)
    results = ranks.run(lambda: loss_and_gradients(config, Mesh.create(parallel), documents))
    for tensor_rank in range(t):  # the context ranks of one tensor rank share the tokens among them
        shares = results[tensor_rank::t]
        assert sum(share[0] for share in shares) == pytest.approx(loss, rel=1e-5)
        for name, expected in gradients.items():
            got = torch.stack([share[1][name] for share in shares]).sum(0)
            assert torch.allclose(got, expected, atol=2e-5), name


def test_the_whole_model_has_the_loss_of_plain_cross_entropy() -> None:
    config = model_of()
    ids, labels, _ = batch()
    logits = build_model(config, Mesh.single(), seed=7)(ids, None)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    assert loss_and_gradients(config, Mesh.single(), False)[0] == pytest.approx(expected.item(), rel=1e-6)


def test_the_split_loss_of_bf16_logits_is_reckoned_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(2, 5, 32) * 20).bfloat16()
    labels = torch.randint(0, 29, (2, 5))
    labels[0, 0] = -100
    whole = logits[..., :29].float().requires_grad_()
    expected = F.cross_entropy(whole.flatten(0, 1), labels.flatten(), reduction="sum")
    expected.backward()

    def on_rank() -> tuple[float, Tensor]:
        mesh = Mesh.create(ParallelSection(tensor_parallel_size=4))
        own = logits.chunk(4, dim=-1)[mesh.tensor_rank].clone().requires_grad_()
        loss = cross_entropy_sum(own, labels, 29, mesh)
        (loss * 0.5).backward()
        assert own.grad is not None
        return loss.item(), own.grad

    results = ThreadRanks(4, monkeypatch).run(on_rank)
    assert [loss for loss, _ in results] == pytest.approx([expected.item()] * 4, rel=1e-6)
    gradient = torch.cat([part for _, part in results], dim=-1)
    assert gradient.dtype == torch.bfloat16
    assert torch.allclose(gradient[..., :29].float(), whole.grad / 2, atol=4e-3)
    assert not gradient[..., 29:].any()  # the padding is no token


@pytest.mark.parametrize(("t", "p", "c", "world"), [(2, 2, 2, 16), (1, 3, 2, 6), (4, 1, 1, 8), (2, 1, 3, 12)])
def test_every_rank_is_in_the_groups_of_its_place(
    t: int, p: int, c: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"tensor_parallel_size": t, "pipeline_parallel_size": p, "context_parallel_size": c}
    d = world // (t * p * c)
    ranks = torch.arange(world).view(p, d, c, t)
    meshes = ThreadRanks(world, monkeypatch).run(lambda: Mesh.create(ParallelSection(**sizes)))
    for rank, mesh in enumerate(meshes):
        assert mesh.shape == (p, d, c, t)
        pipe, data, context, tensor = mesh.pipe_rank, mesh.data_rank, mesh.context_rank, mesh.tensor_rank
        assert ranks[pipe, data, context, tensor] == rank
        assert list(mesh.pipe_group) == ranks[:, data, context, tensor].tolist()
        assert list(mesh.data_parallel_group) == ranks[pipe, :, :, tensor].flatten().tolist()
        assert list(mesh.context_group) == ranks[pipe, data, :, tensor].tolist()
        assert list(mesh.tensor_group) == ranks[pipe, data, context].tolist()
        assert mesh.split_group == (mesh.tensor_group if t > 1 else None)
        assert mesh.sequence_group is None
        assert mesh.replicas == d * c
        assert mesh.get_model_parallel_rank() == mesh.get_tensor_model_parallel_rank() == tensor
        assert mesh.get_model_parallel_world_size() == mesh.get_tensor_model_parallel_world_size() == t
        assert mesh.get_model_parallel_group() == mesh.tensor_group
        assert mesh.get_data_parallel_group() == mesh.data_parallel_group
        assert mesh.get_data_parallel_world_size() == d * c
        assert mesh.data_parallel_group[mesh.get_data_parallel_rank()] == rank


def test_one_process_is_a_mesh_of_one() -> None:
    mesh = Mesh.single()
    assert mesh.shape == (1, 1, 1, 1)
    assert (mesh.pipe_rank, mesh.data_rank, mesh.context_rank, mesh.tensor_rank) == (0, 0, 0, 0)
    assert mesh.split_group is mesh.sequence_group is mesh.tensor_subgroup(1) is None


def test_neighbours_that_share_a_slice_are_a_group_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_rank() -> list[Any]:
        mesh = Mesh.create(ParallelSection(tensor_parallel_size=4))
        pair = mesh.tensor_subgroup(2)
        assert mesh.tensor_subgroup(2) is pair
        return [mesh.tensor_subgroup(1), pair]

    found = ThreadRanks(8, monkeypatch).run(on_rank)
    assert found == [[None, (rank // 2 * 2, rank // 2 * 2 + 1)] for rank in range(8)]


@pytest.mark.parametrize("t", [1, 2, 4])
@pytest.mark.parametrize("shape", MODELS)
def test_every_number_counts_once_in_the_norm(shape: str, t: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model_of(**MODELS[shape])
    whole = dict(named_hf_parameters(build_model(config, Mesh.single(), seed=7)))

    def on_rank() -> dict[str, Tensor]:
        mesh = Mesh.create(ParallelSection(tensor_parallel_size=t))
        counted = {}
        for name, parameter in named_hf_parameters(build_model(config, mesh, seed=7)):
            assert torch.equal(cut_slice(whole[name], slicing_of(parameter)), parameter), name
            assert full_shape(parameter) == whole[name].shape
            counts = getattr(parameter, "tensor_model_parallel", False) or mesh.tensor_rank == 0  # as DeepSpeed does
            assert counts_in_norm(parameter) == counts
            if counts:
                counted[name] = parameter.detach().square().sum()
        return counted

    results = ThreadRanks(t, monkeypatch).run(on_rank)
    for name, parameter in whole.items():
        total = sum(counted[name] for counted in results if name in counted)
        assert torch.allclose(torch.as_tensor(total), parameter.square().sum(), rtol=1e-5), name


@pytest.mark.parametrize("kind", [ColumnParallelLinear, RowParallelLinear])
def test_features_that_do_not_divide_are_refused(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_rank() -> None:
        kind(10, 10, Mesh.create(ParallelSection(tensor_parallel_size=4)))

    with pytest.raises(ValueError, match=r"features=10 does not divide by tensor_parallel_size=4"):
        ThreadRanks(4, monkeypatch).run(on_rank)


@pytest.mark.parametrize("t", [1, 2])
def test_the_bias_of_a_row_split_layer_is_added_once(t: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    whole, x = torch.nn.Linear(6, 5), torch.randn(2, 3, 6)

    def on_rank() -> Tensor:
        mesh = Mesh.create(ParallelSection(tensor_parallel_size=t))
        layer = RowParallelLinear(6, 5, mesh, bias=True)
        assert layer.bias is not None
        with torch.no_grad():
            layer.weight.copy_(cut_slice(whole.weight, slicing_of(layer.weight)))
            layer.bias.copy_(whole.bias)
        return layer(x.chunk(t, dim=-1)[mesh.tensor_rank]).detach()

    for got in ThreadRanks(t, monkeypatch).run(on_rank):
        assert torch.allclose(got, whole(x), atol=1e-6)


@pytest.mark.parametrize("t", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("rows", range(1, 12))
def test_joined_slices_are_whole_even_with_ranks_of_padding_only(
    rows: int, t: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = torch.arange(1.0, rows * 3 + 1).view(rows, 3)

    def on_rank() -> tuple[Tensor, Tensor]:
        mesh = Mesh.create(ParallelSection(tensor_parallel_size=t))
        layer = ColumnParallelLinear(3, rows, mesh, pad=True)
        own = cut_slice(full, slicing_of(layer.weight))
        assert own.shape == layer.weight.shape
        return own, join_slices(own, slicing_of(layer.weight))

    results = ThreadRanks(t, monkeypatch).run(on_rank)
    assert all(torch.equal(together, full) for _, together in results)
    padded = torch.cat([own for own, _ in results])
    assert torch.equal(padded[:rows], full)
    assert not padded[rows:].any()
