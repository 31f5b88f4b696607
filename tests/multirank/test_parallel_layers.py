"""Split layers on t ranks against PyTorch's whole layers on one: outputs, input gradients, weight gradients."""

import multiprocessing
import pickle
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.collectives import copy_to_tensor_axis
from megalite.parallel.cross_entropy import cross_entropy_sum
from megalite.parallel.embedding import VocabParallelEmbedding
from megalite.parallel.linear import ColumnParallelLinear, RowParallelLinear
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import cut_slice, join_slices, slicing_of
from megalite.parity.launch import RankError, RankTimeoutError, _collect, run_on_ranks

IN, OUT, VOCAB = 12, 24, 101


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor_mesh(t: int) -> Mesh:
    return Mesh.create(ParallelSection(tensor_parallel_size=t))


def fill(layer: nn.Module, **full: Tensor) -> None:
    with torch.no_grad():
        for name, tensor in full.items():
            parameter = getattr(layer, name)
            parameter.copy_(cut_slice(tensor, slicing_of(parameter)))


def full_gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return join_slices(parameter.grad, slicing_of(parameter))


def gathered(part: Tensor, mesh: Mesh) -> Tensor:
    parts = [torch.empty_like(part) for _ in range(mesh.tensor_size)]
    torch.distributed.all_gather(parts, part.contiguous(), group=mesh.tensor_group)
    return torch.cat(parts, dim=-1)


def column(t: int) -> dict[str, Tensor]:
    mesh = tensor_mesh(t)
    layer = ColumnParallelLinear(IN, OUT, mesh, bias=True)
    fill(layer, weight=seeded(OUT, IN, seed=1), bias=seeded(OUT, seed=2))
    x = seeded(2, 5, IN, seed=3).requires_grad_()
    y = layer(x)
    upstream = seeded(2, 5, OUT, seed=4)
    (y * upstream.chunk(t, dim=-1)[mesh.tensor_rank]).sum().backward()
    assert layer.weight.tensor_model_parallel
    return {
        "y": gathered(y.detach(), mesh),
        "x": x.grad,
        "weight": full_gradient(layer.weight),
        "bias": full_gradient(layer.bias),
    }


def row(t: int) -> dict[str, Tensor]:
    mesh = tensor_mesh(t)
    layer = RowParallelLinear(IN, OUT, mesh, bias=True)
    fill(layer, weight=seeded(OUT, IN, seed=1), bias=seeded(OUT, seed=2))
    x = seeded(2, 5, IN, seed=3).chunk(t, dim=-1)[mesh.tensor_rank].clone().requires_grad_()
    y = layer(x)
    (y * seeded(2, 5, OUT, seed=4)).sum().backward()
    return {
        "y": y.detach(),
        "x": gathered(x.grad, mesh),
        "weight": full_gradient(layer.weight),
        "bias": full_gradient(layer.bias),
    }


def one_linear() -> dict[str, Tensor]:
    layer = nn.Linear(IN, OUT)
    fill(layer, weight=seeded(OUT, IN, seed=1), bias=seeded(OUT, seed=2))
    x = seeded(2, 5, IN, seed=3).requires_grad_()
    y = layer(x)
    (y * seeded(2, 5, OUT, seed=4)).sum().backward()
    return {"y": y.detach(), "x": x.grad, "weight": layer.weight.grad, "bias": layer.bias.grad}


def embedding(t: int) -> dict[str, Tensor]:
    mesh = tensor_mesh(t)
    layer = VocabParallelEmbedding(VOCAB, IN, mesh)
    fill(layer, weight=seeded(VOCAB, IN, seed=1))
    y = layer(torch.arange(VOCAB).view(1, -1))
    (y * seeded(1, VOCAB, IN, seed=2)).sum().backward()
    return {"y": y.detach(), "weight": full_gradient(layer.weight)}


def one_embedding() -> dict[str, Tensor]:
    layer = nn.Embedding(VOCAB, IN)
    fill(layer, weight=seeded(VOCAB, IN, seed=1))
    y = layer(torch.arange(VOCAB).view(1, -1))
    (y * seeded(1, VOCAB, IN, seed=2)).sum().backward()
    return {"y": y.detach(), "weight": layer.weight.grad}


def loss_case() -> tuple[Tensor, Tensor]:
    labels = torch.randint(0, VOCAB, (3, 7), generator=torch.Generator().manual_seed(5))
    labels[0, :3] = -100
    labels[1, 0] = VOCAB - 1
    return 5 * seeded(3, 7, VOCAB, seed=6), labels


def cross_entropy(t: int) -> dict[str, Tensor]:
    mesh = tensor_mesh(t)
    logits, labels = loss_case()
    padded = F.pad(logits, (0, -VOCAB % t), value=50.0)  # whatever the padding holds, it must not count
    part = padded.chunk(t, dim=-1)[mesh.tensor_rank].clone().requires_grad_()
    loss = cross_entropy_sum(part, labels, VOCAB, mesh)
    (3.0 * loss).backward()
    gradient = gathered(part.grad, mesh)
    assert not gradient[..., VOCAB:].any()
    return {"loss": loss.detach(), "logits": gradient[..., :VOCAB]}


def one_cross_entropy() -> dict[str, Tensor]:
    logits, labels = loss_case()
    logits.requires_grad_()
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    (3.0 * loss).backward()
    return {"loss": loss.detach(), "logits": logits.grad}


@pytest.mark.parametrize("t", [2, 4])
@pytest.mark.parametrize(
    ("split", "whole"),
    [(column, one_linear), (row, one_linear), (embedding, one_embedding), (cross_entropy, one_cross_entropy)],
    ids=["column_parallel_linear", "row_parallel_linear", "vocab_parallel_embedding", "vocab_parallel_cross_entropy"],
)
def test_split_layer_equals_the_whole_layer(split: Any, whole: Any, t: int) -> None:
    expected = whole()
    for result in run_on_ranks(split, t, t):
        for name, tensor in expected.items():
            assert torch.allclose(result[name], tensor, atol=1e-5, rtol=1e-5), name


SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
    "attention_bias": True,
}


def decoder(t: int, tied: bool) -> dict[str, Tensor]:
    mesh = tensor_mesh(t) if t > 1 else Mesh.single()
    config = ModelConfig(**(SHAPE | {"tie_word_embeddings": tied}))
    model = build_model(config, mesh, seed=7)
    tokens = torch.randint(0, VOCAB, (2, 17), generator=torch.Generator().manual_seed(1))
    logits, loss = (model(tokens[:, :-1], labels=labels) for labels in (None, tokens[:, 1:]))
    loss.backward()
    whole = logits if t == 1 else gathered(logits, mesh)[..., :VOCAB]
    return {"loss": loss.detach(), "logits": whole.detach()} | {
        name: full_gradient(p) for name, p in named_hf_parameters(model)
    }


def all_reduces() -> tuple[int, int]:
    mesh = tensor_mesh(2)
    layer = build_model(ModelConfig(**SHAPE), mesh, seed=7).layers[1]
    plain, calls = torch.distributed.all_reduce, []
    torch.distributed.all_reduce = lambda *args, **kwargs: (calls.append(args), plain(*args, **kwargs))[1]
    y = layer(seeded(2, 5, 32).requires_grad_())
    forward = len(calls)
    y.sum().backward()
    return forward, len(calls) - forward


def test_a_decoder_layer_makes_two_all_reduces_each_way() -> None:
    """Shoeybi et al. 2019, section 3: one for attention, one for the MLP; q, k and v share theirs."""
    assert run_on_ranks(all_reduces, 2) == [(2, 2), (2, 2)]


def shared_gradient() -> Tensor:
    mesh = tensor_mesh(2)
    x, beside = (seeded(3, seed=seed).requires_grad_() for seed in (1, 2))
    ((copy_to_tensor_axis(x, mesh.split_group) + beside) * (mesh.tensor_rank + 1)).sum().backward()
    return torch.stack([x.grad, beside.grad])


def test_the_backward_all_reduce_changes_no_other_branch() -> None:
    for rank, gradients in enumerate(run_on_ranks(shared_gradient, 2)):
        assert torch.equal(gradients, torch.tensor([[3.0] * 3, [rank + 1.0] * 3]))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_the_decoder_on_two_tensor_ranks_equals_one_process(tied: bool) -> None:
    expected = decoder(1, tied)
    for result in run_on_ranks(decoder, 2, 2, tied):
        assert result.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.allclose(result[name], tensor, atol=2e-5, rtol=1e-4), name


def zero3_weights() -> dict[str, Tensor]:
    from deepspeed import zero

    mesh = Mesh.create()
    ds_config = {"train_batch_size": mesh.data_size, "zero_optimization": {"stage": 3}}
    model = build_model(ModelConfig(**SHAPE), mesh, seed=7, zero3_config=ds_config)
    weights = {}
    for name, parameter in named_hf_parameters(model):
        assert parameter.ds_tensor.numel() < parameter.ds_numel, f"{name} is not partitioned"
        with zero.GatheredParameters([parameter]):
            weights[name] = parameter.detach().clone()
    return weights


def test_initial_weights_under_zero_3_equal_one_process_bitwise() -> None:
    expected = dict(named_hf_parameters(build_model(ModelConfig(**SHAPE), Mesh.single(), seed=7)))
    for result in run_on_ranks(zero3_weights, 2):
        assert result.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(result[name], tensor), name


def fails_on_rank_1() -> None:
    if torch.distributed.get_rank() == 1:
        raise ValueError("on purpose")


def sleeps_on_rank_1() -> None:
    if torch.distributed.get_rank() == 1:
        time.sleep(600)


def test_a_failing_rank_is_named_with_its_words() -> None:
    with pytest.raises(RankError, match=r"(?s)rank 1 raised:.*on purpose"):
        run_on_ranks(fails_on_rank_1, 2)


def test_a_stuck_rank_ends_with_the_time_out() -> None:
    # On a busy machine rank 0 may not be there yet either; which ranks are named is the next test's claim.
    with pytest.raises(RankTimeoutError, match=r"no answer within 4 s from ranks \[(0, )?1\]"):
        run_on_ranks(sleeps_on_rank_1, 2, timeout_seconds=4)


def test_just_the_ranks_that_have_not_answered_are_named() -> None:
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(4)]
    for rank in (0, 2):
        pipes[rank][1].send_bytes(pickle.dumps((None, rank)))
    with pytest.raises(RankTimeoutError, match=r"no answer within 0.1 s from ranks \[1, 3\]"):
        _collect([receiver for receiver, _ in pipes], timeout_seconds=0.1)


def test_a_rank_that_dies_is_named() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.close()
    with pytest.raises(RankError, match="rank 0 died without an answer"):
        _collect([receiver], timeout_seconds=60)
