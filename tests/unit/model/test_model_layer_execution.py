"""Activation checkpointing computes again what it says, and only with gradients."""

from collections import Counter
from typing import Any

import pytest
import torch

from megalite.config.model import ModelConfig
from megalite.config.schema import TrainingSection
from megalite.model import layer_execution
from megalite.model.build import build_model
from megalite.model.layer_execution import LayerExecution
from megalite.model.mlp import SwiGLU
from megalite.parallel.mesh import Mesh

LAYERS = 3
CONFIG = ModelConfig(
    vocab_size=29, hidden_size=16, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=2
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()

    def count(name: str, plain: Any) -> Any:
        return lambda *inputs: (counted.update([name]), plain(*inputs))[1]

    monkeypatch.setattr(layer_execution, "attention_product", count("attention", layer_execution.attention_product))
    monkeypatch.setattr(SwiGLU, "forward", count("mlp", SwiGLU.forward))
    return counted


@pytest.mark.parametrize(("kind", "attention", "mlp"), [("none", 1, 1), ("selective", 2, 1), ("full", 2, 2)])
def test_the_backward_pass_computes_again_what_is_named(
    kind: Any, attention: int, mlp: int, calls: Counter[str]
) -> None:
    execution = LayerExecution.from_config(TrainingSection(steps=1, activation_checkpointing=kind))
    model = build_model(CONFIG, Mesh.single(), seed=1, execution=execution)
    tokens = torch.zeros(1, 8, dtype=torch.long)
    model(tokens, labels=tokens).backward()
    assert calls == {"attention": attention * LAYERS, "mlp": mlp * LAYERS}
    calls.clear()
    with torch.no_grad():
        model(tokens)
    assert calls == {"attention": LAYERS, "mlp": LAYERS}
