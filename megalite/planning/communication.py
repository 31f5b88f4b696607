"""Bytes that one rank sends in an optimizer step, by axis of the mesh."""

import math
from dataclasses import dataclass

from megalite.config.checks import accumulation_steps
from megalite.config.grid import GridShape
from megalite.config.pipeline_split import stage_layers
from megalite.config.schema import RunConfig
from megalite.planning.memory import device_parameters, device_table

NORM_BYTES = 4
"""A number of a norm's gradient or a loss, always in fp32."""


@dataclass(frozen=True)
class WireBytes:
    """Of the busiest rank, under ring algorithms (Thakur et al. 2005, section 4)."""

    tensor: float
    context: float
    pipe: float
    data: float
    """Between ranks with the same weights: the d * c replicas."""

    @property
    def total(self) -> float:
        """All axes together."""
        return self.tensor + self.context + self.pipe + self.data


def ring_all_reduce(payload: float, ranks: int) -> float:
    """Bytes a rank sends to all-reduce ``payload`` bytes: a reduce-scatter and an all-gather."""
    return 2 * ring_all_gather(payload, ranks)


def ring_all_gather(payload: float, ranks: int) -> float:
    """Bytes a rank sends to all-gather or reduce-scatter ``payload`` bytes, counted over all ranks."""
    return payload * (ranks - 1) / ranks


def wire_bytes(config: RunConfig, shape: GridShape, zero_stage: int) -> WireBytes:
    """What the layers, the pipeline and ZeRO send, from their formulas. Raises: ConfigError where the batch does not divide.

    Tensor axis, Shoeybi et al. 2019 section 3: two all-reduces a layer forward and two backward, one at each end of the
    model, three of a number a token in the loss. Sequence parallelism splits each all-reduce into its two halves
    (Korthikanti et al. 2022, section 4.2.2) and adds the gradients of what is whole between the layers. Context axis, Jacobs
    et al. 2023 section 3.2: four exchanges a layer each way. ZeRO as DeepSpeed 0.19 does it, in units of the parameters: 2
    for an all-reduce of the gradients, at stage 2 in every micro-batch; 1 more at stages 1 and 2 for the updated weights; at
    stage 3 in every micro-batch one gathering forward, one backward and one scattering (Rajbhandari et al. 2020, section
    7), where layers are not kept for lack of need.
    """
    parameters = device_parameters(config.model, config.parallel)
    stages = [
        _of_stage(config, shape, zero_stage, number, parameters[number], layers)
        for number, layers in enumerate(stage_layers(config.model, config.parallel))
    ]
    return max(stages, key=lambda sent: sent.total)


def _of_stage(
    config: RunConfig, shape: GridShape, zero_stage: int, stage: int, parameters: int, layers: int
) -> WireBytes:
    model, batch, (p, _, c, t) = config.model, config.batch, shape
    micro_batches = accumulation_steps(batch.micro_batch_size, batch.global_batch_size, shape.data)
    size = 2 if config.training.precision == "bf16" else 4
    tokens = batch.micro_batch_size * config.data.sequence_length // c
    hidden = tokens * model.hidden_size * size
    first, last = stage == 0, stage == p - 1
    recomputes, sequence_parallel = (
        config.training.activation_checkpointing == "full",
        config.parallel.sequence_parallel,
    )

    # Recomputing stops before the layer's last sum, which no gradient needs.
    a_layer = 4 + (1.5 if sequence_parallel else 1) * recomputes
    tensor = (layers * a_layer + first + last) * ring_all_reduce(hidden, t)
    tensor += last * 3 * ring_all_reduce(tokens * NORM_BYTES, t)
    if sequence_parallel:
        whole = layers * (2 + model.attention_bias + model.mlp_bias) + last
        tensor += whole * ring_all_reduce(model.hidden_size * size, t)
    if t > model.key_value_heads:
        head = model.head_size * (model.hidden_size + model.attention_bias)
        tensor += 2 * layers * ring_all_reduce(head * size, t // model.key_value_heads)

    key_value = max(1, model.key_value_heads // t)
    heads = 2 * model.num_attention_heads // t + 2 * math.lcm(key_value, c)  # copied so that each rank gets some
    context = layers * (2 + recomputes) * ring_all_gather(tokens * heads * model.head_size * size, c)

    neighbours = (not first) + (not last)  # each is sent one slice of the activations or of their gradients
    pipe = neighbours * hidden / t
    if not sequence_parallel:  # what was received is made whole, and what was sent forward, before its backward
        tensor += (neighbours + (not last)) * ring_all_gather(hidden, t)
    table = device_table(model, config.parallel) * size
    tied = model.tie_word_embeddings and (first or last)
    once = ring_all_reduce(table, 2) if tied and p > 1 else 0  # the first and the last stage hold a copy each

    unit = ring_all_gather(parameters * size, shape.replicas)
    again = ring_all_gather(table, shape.replicas) if tied else 0  # used, and so gathered, at both ends
    data = (2 * unit, 3 * unit, (2 * micro_batches + 1) * unit, micro_batches * (3 * unit + 2 * again))[zero_stage]
    return WireBytes(tensor * micro_batches, context * micro_batches, pipe * micro_batches + once, data)
