"""The derived figures of a run, before it starts."""

from dataclasses import dataclass

from megalite.config.checks import accumulation_steps
from megalite.config.grid import GridShape
from megalite.config.precision import with_precision
from megalite.config.schema import RunConfig
from megalite.model.layer_shapes import parameter_count
from megalite.model.pipeline_split import stage_layers
from megalite.planning.communication import WireBytes, wire_bytes
from megalite.planning.compute import compute_optimal_tokens, days, flops_6np, flops_per_token
from megalite.planning.memory import ModelState, model_state


@dataclass(frozen=True)
class TrainingPlan:
    """Derived figures of a run on the devices of ``shape``."""

    shape: GridShape
    stage_layers: list[int]
    """Decoder layers of each pipeline stage."""
    parameters: int
    accumulation_steps: int
    tokens_per_step: int
    tokens: int
    compute_optimal_tokens: int
    flops_6np: float
    flops_exact: float
    zero_stage: int
    model_state: ModelState
    wire: WireBytes
    days: float | None
    """None if ``hardware.peak_tflops`` is not given."""


def make_plan(config: RunConfig, shape: GridShape, zero_stage: int) -> TrainingPlan:
    """Derives the plan. Raises: ConfigError if the batch does not divide."""
    config = assume_precision(config)
    model, batch, sequence_length = config.model, config.batch, config.data.sequence_length
    tokens_per_step = batch.global_batch_size * sequence_length
    tokens = config.training.steps * tokens_per_step
    flops = tokens * flops_per_token(model, sequence_length)
    peak = config.hardware.peak_tflops
    return TrainingPlan(
        shape=shape,
        stage_layers=stage_layers(model, config.parallel),
        parameters=parameter_count(model),
        accumulation_steps=accumulation_steps(batch.micro_batch_size, batch.global_batch_size, shape.data),
        tokens_per_step=tokens_per_step,
        tokens=tokens,
        compute_optimal_tokens=compute_optimal_tokens(model),
        flops_6np=flops_6np(model, tokens),
        flops_exact=flops,
        zero_stage=zero_stage,
        model_state=model_state(config, shape, zero_stage),
        wire=wire_bytes(config, shape, zero_stage),
        days=None if peak is None else days(flops, peak, shape.world_size, config.hardware.expected_mfu),
    )


def assume_precision(config: RunConfig) -> RunConfig:
    """Returns the config with bf16 for ``auto``: the devices of large runs support it."""
    return with_precision(config, "bf16") if config.training.precision == "auto" else config
