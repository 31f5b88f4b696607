"""DeepSpeed's stages on one and two ranks against a plain PyTorch loop in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from megalite.config.ds_config import merge_ds_config, read_ds_config
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.mesh import Mesh
from megalite.parity.launch import run_on_ranks
from megalite.training.checkpoint.state_access import MASTER_WEIGHT, read_tensor
from megalite.training.engine import Engine
from megalite.training.schedule import learning_rate
from runs import VOCAB, run_config

DS_CONFIGS = Path(__file__).parents[2] / "ds_configs"
STEPS, GLOBAL, LENGTH = 5, 8, 16


def step_data(step: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one global batch; the rows have very uneven numbers of counted tokens."""
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(0, VOCAB, (GLOBAL, LENGTH + 1), generator=generator)
    labels = tokens[:, 1:].clone()
    for row in range(GLOBAL):
        labels[row, : (row * 5 + step) % LENGTH] = -100
    return tokens[:, :-1], labels


def plain_pytorch() -> tuple[list[float], list[float], dict[str, Tensor]]:
    """One process, the whole batch at once, loss = mean over counted tokens; optimizer groups written out by hand."""
    config = run_config(Path("unused"))
    model = build_model(config.model, Mesh.single(), seed=config.run.seed)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    losses, norms = [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.schedule, config.optimizer.lr, step, config.training.steps)
        inputs, labels = step_data(step)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), labels.flatten(), ignore_index=-100)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses, norms, {name: p.detach() for name, p in named_hf_parameters(model)}


def by_deepspeed(
    ds_values: dict[str, Any], precision: str, micro: int
) -> tuple[list[float], list[float], dict[str, Tensor]]:
    mesh = Mesh.create()
    config = run_config(
        Path("unused"),
        training={"precision": precision},
        batch={"micro_batch_size": micro, "global_batch_size": GLOBAL},
    )
    ds_config = merge_ds_config(config, ds_values, mesh.shape, "yaml", "json")
    engine = Engine(config, ds_config, mesh, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    losses, norms = [], []
    for step in range(STEPS):
        inputs, labels = step_data(step)
        own = torch.arange(GLOBAL).view(-1, mesh.data_size, micro)[:, mesh.data_rank]
        batches = [{"input_ids": inputs[rows], "labels": labels[rows]} for rows in own]
        lr = learning_rate(config.schedule, config.optimizer.lr, step, config.training.steps)
        result = engine.train_step(batches, lr)
        losses.append(float(engine.total(result.loss_sum.double())) / result.tokens)
        norms.append(result.grad_norm)
    return (
        losses,
        norms,
        {name: read_tensor(engine.deepspeed, p, MASTER_WEIGHT).cpu().clone() for name, p in engine.named_parameters},
    )


def agree(got: Any, expected: Any, tolerance: float, weight_tolerance: float) -> None:
    for values, wanted in zip(got[:2], expected[:2], strict=True):
        assert values == pytest.approx(wanted, abs=tolerance, rel=tolerance)
    assert got[2].keys() == expected[2].keys()
    for name, weight in expected[2].items():
        assert torch.allclose(got[2][name], weight, atol=weight_tolerance), name


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3", "zero3_offload"])
def test_every_shipped_zero_config_trains_like_plain_pytorch(name: str, world_size: int) -> None:
    expected = plain_pytorch()
    values = read_ds_config(DS_CONFIGS / f"{name}.json")
    for result in run_on_ranks(by_deepspeed, world_size, values, "fp32", 2):
        agree(result, expected, tolerance=1e-5, weight_tolerance=2e-5)


@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3"])
def test_bf16_stays_near_fp32(name: str) -> None:
    expected = plain_pytorch()
    for result in run_on_ranks(by_deepspeed, 2, read_ds_config(DS_CONFIGS / f"{name}.json"), "bf16", 1):
        agree(result, expected, tolerance=0.03, weight_tolerance=0.05)
        assert all(weight.dtype == torch.float32 for weight in result[2].values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_gpu_trains_like_plain_pytorch(name: str, precision: str) -> None:
    expected = plain_pytorch()
    tolerances = (1e-4, 1e-4) if precision == "fp32" else (0.03, 0.05)
    for result in run_on_ranks(by_deepspeed, 1, read_ds_config(DS_CONFIGS / f"{name}.json"), precision, 2):
        agree(result, expected, *tolerances)


def test_the_shipped_configs_are_json() -> None:
    for path in DS_CONFIGS.glob("*.json"):
        assert json.loads(path.read_text())["zero_optimization"]["stage"] in range(4)
