"""What an engine is put together from, by ZeRO stage and precision."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from megalite.config.ds_config import merge_ds_config
from megalite.config.grid import GridShape
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.mesh import Mesh
from megalite.training import engine as engine_module
from megalite.training import pipeline_engine
from megalite.training.engine import Engine
from megalite.training.gradient_norm import GradientClipping
from runs import run_config


class PartsOnly(Engine):
    """Builds the plain model whatever the stage, and keeps the dtype that was asked for."""

    def build_model(self, ds_config: dict[str, Any], dtype: torch.dtype) -> nn.Module:
        self.dtype = dtype
        return build_model(self.config.model, self.mesh, seed=self.config.run.seed, dtype=dtype)


def engine_of(stage: int, precision: str, monkeypatch: pytest.MonkeyPatch) -> tuple[PartsOnly, dict[str, Any]]:
    config = run_config(Path("unused"), training={"precision": precision}, optimizer={"lr": 1.0, "weight_decay": 0.3})
    ds_config = merge_ds_config(config, {"zero_optimization": {"stage": stage}}, GridShape(1, 1, 1, 1), "yaml", "json")
    handed: dict[str, Any] = {}

    def initialize(**parts: Any) -> tuple[Any, ...]:
        handed.update(parts)
        optimizer = parts["optimizer"] if stage == 0 else SimpleNamespace(optimizer=parts["optimizer"])
        return SimpleNamespace(optimizer=optimizer), None, None, None

    monkeypatch.setattr(engine_module, "quiet_deepspeed", lambda: SimpleNamespace(initialize=initialize))
    return PartsOnly(config, ds_config, Mesh.single(), torch.device("cpu")), handed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_weights_norm_and_optimizer_state_by_stage(stage: int, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, handed = engine_of(stage, precision, monkeypatch)
    low = precision == "bf16"
    assert engine.dtype == (
        torch.bfloat16 if low and stage > 0 else torch.float32
    )  # ZeRO keeps the fp32 weights itself
    assert engine.autocast == (low and stage == 0)
    assert isinstance(engine.clipping, GradientClipping) == (stage == 0)  # DeepSpeed keeps a norm from stage 1 on
    optimizer = handed["optimizer"]
    assert len(optimizer.state) == (len(engine.named_parameters) if stage in (1, 2) else 0)
    assert [name for name, _ in engine.named_parameters] == [name for name, _ in named_hf_parameters(handed["model"])]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(engine.named_parameters)
    assert handed["mpu"] is engine.mesh
    assert handed["config"]["zero_optimization"]["stage"] == engine.zero_stage == stage


def test_stage_0_clips_all_gradients_just_before_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, handed = engine_of(0, "fp32", monkeypatch)
    for _, parameter in engine.named_parameters:
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for _, parameter in engine.named_parameters)
    handed["optimizer"].step()
    assert engine.clipping is not None
    assert float(engine.clipping.norm) == pytest.approx(count**0.5)
    square = sum(float(parameter.grad.square().sum()) for _, parameter in engine.named_parameters)
    assert square == pytest.approx(1.0, rel=1e-4)  # the default limit


@pytest.mark.parametrize(("stages", "kind"), [(1, "Engine"), (2, "PipelineEngine"), (8, "PipelineEngine")])
def test_more_than_one_stage_needs_the_pipelines_engine(
    stages: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Engine", "PipelineEngine"):
        monkeypatch.setattr(pipeline_engine, name, lambda *parts, name=name: (name, parts))
    mesh: Any = SimpleNamespace(pipe_size=stages)
    assert pipeline_engine.build_engine("config", {}, mesh, "device", "progress") == (
        kind,
        ("config", {}, mesh, "device", "progress"),
    )
