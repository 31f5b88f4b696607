from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.config.grid import grid_shape
from megalite.config.load import load_run_config
from megalite.config.model import ModelConfig
from megalite.model.layer_shapes import parameter_count
from megalite.planning.compute import compute_optimal_tokens, days, flops_6np, flops_per_token
from megalite.planning.memory import model_state_bytes
from megalite.planning.plan_table import print_plan
from megalite.planning.training_plan import make_plan

REPOSITORY = Path(__file__).parents[3]
SHAPES = [
    {},
    {"num_key_value_heads": 2},
    {"tie_word_embeddings": True},
    {"head_dim": 24, "num_key_value_heads": 1},
    {"attention_bias": True, "mlp_bias": True},
]


def model(**changes: object) -> ModelConfig:
    shape: dict[str, object] = {
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    return ModelConfig(**(shape | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_parameter_count_equals_transformers(changes: dict[str, object]) -> None:
    config = model(**changes)
    with torch.device("meta"):
        reference = LlamaForCausalLM(
            LlamaConfig(**config.model_dump(exclude={"rope_parameters", "head_dim"}), head_dim=config.head_size)
        )
    assert parameter_count(config) == sum(p.numel() for p in reference.parameters())


def test_flops_per_token_equal_a_count_of_every_product() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config, sequence = model(num_key_value_heads=2), 32
    reference = LlamaForCausalLM(
        LlamaConfig(**config.model_dump(exclude={"rope_parameters", "head_dim"}), attn_implementation="eager")
    )
    with FlopCounterMode(display=False) as counter:
        reference(torch.zeros(1, sequence, dtype=torch.long)).logits.sum().backward()
    counted = counter.get_total_flops() / sequence
    # The counter sees the whole square of scores; ours counts the causal half, and RoPE's outer product is not ours.
    square = 6 * config.num_hidden_layers * 2 * config.hidden_size
    causal_square = flops_per_token(config, sequence) + square * (sequence - (sequence + 1) / 2)
    assert counted == pytest.approx(causal_square, rel=0.01)


def test_compute_and_optimal_tokens_follow_from_parameters() -> None:
    parameters = parameter_count(model())
    assert flops_6np(model(), 1000) == 6.0 * 1000 * parameters
    assert compute_optimal_tokens(model()) == 20 * parameters


def test_days_of_a_known_run() -> None:
    # LLaMA 65B (arXiv:2302.13971): 1.4e12 tokens at 380 tokens/s on each of 2048 devices are about 21 days.
    flops = 6.0 * 65.2e9 * 1.4e12
    assert days(flops, 312, 2048, 380 * 6 * 65.2e9 / 312e12) == pytest.approx(20.8, abs=0.1)


@pytest.mark.parametrize(
    ("stage", "expected"), [(1, 2 + 4 + 12 / 8), (2, 2 + 4 / 8 + 12 / 8), (3, (2 + 4 + 12) / 8), (0, 4 + 4 + 8)]
)
def test_model_state_shrinks_with_the_zero_stage(stage: int, expected: float) -> None:
    shapes = {"norm.weight": torch.Size((40,)), "q_proj.weight": torch.Size((24, 40))}
    assert model_state_bytes(shapes, "adamw", "bf16", stage, 8).total == pytest.approx(1000 * expected)


def test_the_plan_tells_batch_compute_memory_and_time() -> None:
    config = load_run_config(REPOSITORY / "examples/tiny/pretrain.yaml", ["hardware.peak_tflops=0.2"])
    plan = make_plan(config, grid_shape(2, config.parallel), zero_stage=3)
    assert plan.tokens == config.training.steps * config.batch.global_batch_size * config.data.sequence_length
    console = Console(record=True, width=160)
    print_plan(config, plan, console)
    text = console.export_text()
    for words in ("parameters", "6NP", "exact", "compute-optimal", "data-parallel 2", "minutes", "model state"):
        assert words in text
