"""Bytes of model state on one device, by ZeRO stage (Rajbhandari et al. 2020, arXiv:1910.02054, figure 1)."""

from typing import NamedTuple

from megalite.config.model import ModelConfig
from megalite.config.pipeline_split import stage_layers
from megalite.config.schema import ParallelSection


class ModelState(NamedTuple):
    """Bytes on one device, without activations and communication buffers."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        """All three together."""
        return self.weights + self.gradients + self.optimizer


def device_table(model: ModelConfig, parallel: ParallelSection) -> int:
    """Numbers in a rank's slice of the embedding or of the head, padding included."""
    return -(-model.vocab_size // parallel.tensor_parallel_size) * model.hidden_size


def device_parameters(model: ModelConfig, parallel: ParallelSection) -> list[int]:
    """Parameters on a device of each stage: matrices divided by t, what is whole on every rank counted whole."""
    t, hidden = parallel.tensor_parallel_size, model.hidden_size
    table = device_table(model, parallel)
    queries = model.num_attention_heads // t * model.head_size
    keys = max(1, model.key_value_heads // t) * model.head_size  # a head held by several ranks counts on each
    layer = 2 * hidden * (queries + keys) + 3 * hidden * model.intermediate_size // t + 2 * hidden
    if model.attention_bias:
        layer += queries + 2 * keys + hidden
    if model.mlp_bias:
        layer += 2 * model.intermediate_size // t + hidden
    stages = [layers * layer for layers in stage_layers(model, parallel)]
    stages[0] += table
    stages[-1] += hidden
    if len(stages) > 1 or not model.tie_word_embeddings:  # between two stages a tied table has two copies
        stages[-1] += table
    return stages


def model_state_bytes(parameters: int, precision: str, zero_stage: int, replicas: int) -> ModelState:
    """What one device holds between the micro-batches.

    fp32, and bf16 without ZeRO (autocast over fp32 weights): 4 bytes of weight, 4 of gradient, 8 of moments. bf16 with
    ZeRO: 2 of weight, 4 of gradient (accumulated in fp32), 12 of master weight and moments. Stage 1 divides the
    optimizer by the number of replicas (d * c), stage 2 the gradients too, stage 3 the weights as well.
    """
    low_precision_weights = precision == "bf16" and zero_stage > 0
    weights, gradients, optimizer = (2, 4, 12) if low_precision_weights else (4, 4, 8)
    return ModelState(
        weights=parameters * weights / (replicas if zero_stage >= 3 else 1),
        gradients=parameters * gradients / (replicas if zero_stage >= 2 else 1),
        optimizer=parameters * optimizer / (replicas if zero_stage >= 1 else 1),
    )
