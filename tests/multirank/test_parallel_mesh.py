"""The mesh: its groups are DeepSpeed's own, and as ``mpu`` it trains the same model as one plain process."""

from typing import Any

import pytest
import torch
from torch import Tensor

from megalite.config.model import ModelConfig
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.cross_entropy import cross_entropy_sum
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import gather_full
from ranks import run_on_ranks

AXES = ("pipe", "data", "tensor")
VOCAB, ROWS, STEPS, LR, CLIP = 101, 4, 2, 0.3, 0.5
CONFIG = ModelConfig(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.1,
    tie_word_embeddings=True,
    attention_bias=True,
)


def members(t: int, p: int) -> list[list[int]]:
    mesh = Mesh.create(t, p)
    return [torch.distributed.get_process_group_ranks(getattr(mesh, f"{axis}_group")) for axis in AXES]


@pytest.mark.parametrize(("world_size", "t", "p"), [(8, 2, 2), (4, 2, 1), (4, 1, 4), (3, 1, 1), (2, 2, 1)])
def test_the_groups_are_those_of_deepspeeds_own_topology(world_size: int, t: int, p: int) -> None:
    from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

    topology = PipeModelDataParallelTopology(num_pp=p, num_mp=t, num_dp=world_size // (t * p))
    for rank, groups in enumerate(run_on_ranks(members, world_size, t, p)):
        for axis, ranks in zip(("pipe", "data", "model"), groups, strict=True):
            lists = topology.get_axis_comm_lists(axis) or [[each] for each in range(world_size)]
            assert ranks == next(each for each in lists if rank in each), (rank, axis)


def batch(step: int) -> Tensor:
    return torch.randint(0, VOCAB, (ROWS, 17), generator=torch.Generator().manual_seed(step))


def loss_sum(model: Any, tokens: Tensor, mesh: Mesh) -> Tensor:
    return cross_entropy_sum(model(tokens[:, :-1]), tokens[:, 1:], VOCAB, mesh)


def one_process() -> tuple[list[float], dict[str, Tensor]]:
    """Plain PyTorch: clipped SGD (no moments that would hide a wrongly scaled gradient)."""
    model = build_model(CONFIG, Mesh.single(), seed=7)
    optimizer, norms = torch.optim.SGD(model.parameters(), lr=LR), []
    for step in range(STEPS):
        optimizer.zero_grad()
        (loss_sum(model, batch(step), Mesh.single()) / (ROWS * 16)).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
    return norms, {name: parameter.detach() for name, parameter in named_hf_parameters(model)}


def with_deepspeed(t: int, stage: int) -> tuple[list[float], dict[str, Tensor]]:
    import deepspeed

    mesh = Mesh.create(t)
    ds_config = {
        "train_micro_batch_size_per_gpu": ROWS // mesh.data_size,
        "train_batch_size": ROWS,
        "gradient_clipping": CLIP,
        "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
        "zero_allow_untested_optimizer": True,
    }
    model = build_model(CONFIG, mesh, seed=7, zero3_config=ds_config if stage == 3 else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=ds_config, mpu=mesh)
    norms = []
    for step in range(STEPS):
        mine = batch(step).chunk(mesh.data_size)[mesh.data_rank]
        engine.backward(loss_sum(engine, mine, mesh) * mesh.data_size / (ROWS * 16))
        engine.step()
        norms.append(float(engine.get_global_grad_norm()))
    weights = {}
    for name, parameter in named_hf_parameters(model):
        with deepspeed.zero.GatheredParameters([parameter], enabled=stage == 3):
            weights[name] = gather_full(parameter.detach(), parameter, mesh).clone()
    return norms, weights


@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize(("t", "world_size"), [(1, 2), (2, 2), (2, 4)], ids=["t1 d2", "t2 d1", "t2 d2"])
def test_the_mesh_as_mpu_trains_what_one_process_trains(t: int, world_size: int, stage: int) -> None:
    norms, weights = one_process()
    for got_norms, got_weights in run_on_ranks(with_deepspeed, world_size, t, stage):
        assert got_norms == pytest.approx(norms, abs=1e-5)
        for name, weight in weights.items():
            assert torch.allclose(got_weights[name], weight, atol=2e-5), name
