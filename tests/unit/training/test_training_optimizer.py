"""AdamW and its groups against the formulas of the paper, written out."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from megalite.config.schema import OptimizerSection
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.mesh import Mesh
from megalite.training.optimizers.definition import NAMES, optimizer_definition, state_numel
from megalite.training.optimizers.groups import is_norm_or_bias
from runs import run_config

SETTINGS = OptimizerSection(lr=0.03, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5)
ADAMW = optimizer_definition("adamw")


def adamw_by_hand(weight: Tensor, gradients: list[Tensor], decay: float) -> Tensor:
    """Algorithm 2 of Loshchilov & Hutter 2019, in fp64."""
    w, m, v = weight.double(), torch.zeros_like(weight).double(), torch.zeros_like(weight).double()
    for step, gradient in enumerate(gradients, start=1):
        m = 0.8 * m + 0.2 * gradient.double()
        v = 0.9 * v + 0.1 * gradient.double() ** 2
        update = (m / (1 - 0.8**step)) / ((v / (1 - 0.9**step)).sqrt() + 1e-3)
        w = w - 0.03 * (update + decay * w)
    return w.float()


def parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    shapes = {
        "model.layers.0.self_attn.q_proj.weight": (3, 4),
        "model.layers.0.self_attn.q_proj.bias": (3,),
        "model.layers.0.input_layernorm.weight": (4,),
        "lm_head.weight": (7,),  # flat, as every parameter is under ZeRO-3
    }
    return {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}


@pytest.mark.parametrize("state_first", [False, True])
def test_three_steps_equal_the_paper_with_decay_on_matrices_only(state_first: bool) -> None:
    named = parameters()
    optimizer = ADAMW.build(list(named.items()), SETTINGS)
    if state_first:
        ADAMW.create_state(optimizer)
    gradients = {name: [torch.randn_like(p) for _ in range(3)] for name, p in named.items()}
    decays = dict(zip(named, (0.5, 0.0, 0.0, 0.5), strict=True))
    expected = {name: adamw_by_hand(p.detach(), gradients[name], decays[name]) for name, p in named.items()}
    for step in range(3):
        for name, parameter in named.items():
            parameter.grad = gradients[name][step]
        optimizer.step()
    for name, parameter in named.items():
        assert torch.allclose(parameter, expected[name], atol=1e-6), name


@pytest.mark.parametrize("created", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_keeps_the_state_that_it_declares(name: str, created: bool) -> None:
    """Otherwise checkpoints would miss a tensor, and the memory plan would be wrong."""
    definition, named = optimizer_definition(name), parameters()
    named["lm_head.weight"] = nn.Parameter(torch.randn(7, 4))
    if created and any(tensor.dims is not None for tensor in definition.state):
        pytest.skip("ZeRO 1 and 2, which need state before the first step, cut parameters into flat pieces")
    optimizer = definition.build(list(named.items()), SETTINGS.model_copy(update={"name": name}))
    if created:
        definition.create_state(optimizer)
        assert not any(tensor.any() for state in optimizer.state.values() for tensor in state.values())
    for parameter in named.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = 0
    for parameter_name, parameter in named.items():
        state = dict(optimizer.state[parameter])
        assert state.pop("step").item() == 1
        declared = [tensor for tensor in definition.state if tensor.belongs_to(parameter_name)]
        assert {key: value.shape for key, value in state.items()} == {
            tensor.name: tensor.shape(parameter.shape) for tensor in declared
        }
        assert {value.dtype for value in state.values()} <= {torch.float32}
        kept += sum(value.numel() for value in state.values())
    assert state_numel(name, {key: parameter.shape for key, parameter in named.items()}) == kept


@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_in_one_group_and_matrices_decay(tied: bool) -> None:
    shape = {"tie_word_embeddings": tied, "attention_bias": True, "mlp_bias": True}
    model = build_model(run_config(Path("unused"), model=shape).model, Mesh.single(), seed=1)
    optimizer = ADAMW.build(list(named_hf_parameters(model)), SETTINGS)
    decayed, kept = optimizer.param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    assert set(decayed["params"]) == {p for p in model.parameters() if p.ndim == 2}
    assert set(kept["params"]) == {p for p in model.parameters() if p.ndim == 1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


def test_a_stage_without_a_parameter_group_is_refused() -> None:
    matrices = [(name, p) for name, p in parameters().items() if not is_norm_or_bias(name)]
    vectors = [(name, p) for name, p in parameters().items() if is_norm_or_bias(name)]
    for some in (matrices, vectors):
        with pytest.raises(AssertionError, match="both groups"):
            ADAMW.build(some, SETTINGS)


def test_norms_and_biases_are_known_by_name() -> None:
    kept = ["model.norm.weight", "model.layers.3.post_attention_layernorm.weight", "model.layers.3.mlp.up_proj.bias"]
    decayed = ["model.embed_tokens.weight", "lm_head.weight", "model.layers.3.mlp.up_proj.weight"]
    assert [is_norm_or_bias(name) for name in kept + decayed] == [True] * 3 + [False] * 3
