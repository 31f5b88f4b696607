"""What a device holds and sends, by layout, and in models that planning has never seen."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from megalite.config.errors import ConfigError
from megalite.config.grid import grid_shape
from megalite.config.load import load_run_config
from megalite.model import layer_shapes
from megalite.model.decoder_layer import DecoderLayer
from megalite.model.layer_list import layer_list
from megalite.model.layer_shapes import layers_on_meta
from megalite.model.mlp import SwiGLU
from megalite.planning.training_plan import TrainingPlan, make_plan

EXAMPLES = Path(__file__).parents[3] / "examples"
PARITY, LARGE = "parity.yaml", "llama-7b-tp2-pp2/pretrain.yaml"


def plan_of(example: str, world_size: int, zero_stage: int, layout: str, *words: str) -> TrainingPlan:
    """``layout``: sizes of the pipe, context and tensor axes, and ``sp``."""
    pipe, context, tensor, *sequence = layout.split()
    keys = {"pipeline": pipe, "context": context, "tensor": tensor}
    axes = [f"parallel.{key}_parallel_size={size}" for key, size in keys.items()]
    parallel = [*axes, f"parallel.sequence_parallel={str(bool(sequence)).lower()}"]
    config = load_run_config(EXAMPLES / example, [*parallel, "parallel.pipeline_split=null", *words])
    return make_plan(config, grid_shape(world_size, config.parallel), zero_stage)


@pytest.mark.parametrize(
    ("run", "held", "sent"),
    [
        (  # one key/value head on four ranks, 131 rows over four, biases
            (PARITY, 32, 1, "2 2 4 sp", "model.num_key_value_heads=1"),
            (136_960, 136_960, 68_480),
            (544_896, 65_536, 12_544, 308_160),
        ),
        (
            (PARITY, 8, 3, "1 2 2", "training.activation_checkpointing=full"),
            (122_176, 122_176, 244_352),
            (688_896, 294_912, 0, 4_499_712),
        ),
        (
            (LARGE, 12, 0, "3 1 2", "model.vocab_size=50001"),
            (4_862_230_528, 4_862_230_528, 9_724_461_056),
            (790_273_982_464, 0, 8_589_934_592, 2_431_115_264),
        ),
        (
            ("llama-1b/pretrain.yaml", 8, 1, "2 1 2 sp", "model.tie_word_embeddings=true"),
            (595_689_472, 1_191_378_944, 1_787_068_416),
            (210_459_688_960, 0, 2_214_592_512, 893_534_208),
        ),
    ],
)
def test_figures_equal_those_of_closed_formulas(run: Any, held: Any, sent: Any) -> None:
    plan = plan_of(*run)
    assert plan.model_state == held
    assert tuple(vars(plan.wire).values()) == sent


class WithExpert(DecoderLayer):
    """A layer of another model family: a second feed-forward block."""

    def __init__(self, config: Any, mesh: Any, *args: Any, **options: Any) -> None:
        super().__init__(config, mesh, *args, **options)
        self.expert = SwiGLU(config, mesh)

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        x = super().forward(x, *args)
        return x + self.expert(x)


@pytest.fixture
def other_family(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def with_experts(*args: Any, **options: Any) -> list[Any]:
        layers = layer_list(*args, **options)
        return [partial(WithExpert, *m.args, **m.keywords) if m.func is DecoderLayer else m for m in layers]

    def forget() -> None:
        layer_shapes.layer_flops.cache_clear()
        layer_shapes.parameter_count.cache_clear()

    def install() -> None:
        monkeypatch.setattr(layer_shapes, "layer_list", with_experts)
        forget()

    yield install
    monkeypatch.undo()
    forget()


def test_another_model_family_is_planned_as_it_is(other_family: Any) -> None:
    words = ("model.mlp_bias=false", "data.sequence_length=8")
    before = plan_of(PARITY, 2, 0, "1 1 2", *words)
    other_family()
    after = plan_of(PARITY, 2, 0, "1 1 2", *words)
    more = 8 * 3 * 64 * 96  # eight layers, three matrices
    assert after.parameters - before.parameters == more
    assert after.model_state.weights - before.model_state.weights == more / 2 * 4
    assert after.flops_exact - before.flops_exact == 6 * more * after.tokens
    all_reduce = 2 * 8 * 64 * 4  # of two samples of eight tokens, among two ranks
    assert after.wire.tensor - before.wire.tensor == 8 * 2 * all_reduce * after.accumulation_steps


def test_layers_on_the_meta_device_allocate_nothing() -> None:
    layers = layers_on_meta(load_run_config(EXAMPLES / PARITY).model)
    assert all(parameter.is_meta for layer in layers for parameter in layer.parameters())
    assert len(layers) == 8 + 3


def test_a_batch_past_all_devices_is_refused_in_one_line() -> None:
    words = ("data.sequence_length=134217728", "model.max_position_embeddings=134217728", "data.mask_documents=false")
    with pytest.raises(ConfigError, match=r"batch.micro_batch_size=16777216 samples .* are too large for any device"):
        plan_of(LARGE, 1, 0, "1 1 1", *words, "batch.micro_batch_size=16777216", "batch.global_batch_size=16777216")
