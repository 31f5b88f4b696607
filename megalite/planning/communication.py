"""Bytes that one rank sends in an optimizer step, by axis of the mesh."""

from dataclasses import dataclass

from megalite.config.checks import accumulation_steps
from megalite.config.grid import GridShape
from megalite.config.schema import RunConfig
from megalite.planning.counting_mesh import CountingMesh, ring_all_gather, ring_all_reduce
from megalite.planning.layer_wires import layer_wires
from megalite.planning.pipeline_stages import StageParameters, pipeline_stages, stage_parameters


@dataclass(frozen=True)
class WireBytes:
    """Of the busiest rank, under ring algorithms (Thakur et al. 2005, section 4)."""

    tensor: float
    context: float
    pipe: float
    data: float
    """Among the d * c ranks with the same weights."""

    @property
    def total(self) -> float:
        return self.tensor + self.context + self.pipe + self.data


def wire_bytes(config: RunConfig, shape: GridShape, zero_stage: int) -> WireBytes:
    """Returns what the layers, the pipeline and ZeRO send.

    Raises: ConfigError if the batch does not divide, or a micro-batch is too large for any device.
    """
    micro_batches = accumulation_steps(config.batch.micro_batch_size, config.batch.global_batch_size, shape.data)
    number_bytes = 2 if config.training.precision == "bf16" else 4
    mesh = CountingMesh.of(shape, config.parallel.sequence_parallel)
    stages = pipeline_stages(config, mesh)
    wires, activation_bytes = layer_wires(config, [layer for stage in stages for layer in stage], mesh)
    by_layer, found = iter(wires), []
    for number, (stage, parameters) in enumerate(zip(stages, stage_parameters(stages), strict=True)):
        sent = [next(by_layer) for _ in stage]
        tensor, context = sum(layer.tensor for layer in sent), sum(layer.context for layer in sent)
        after, neighbours = number < shape.pipe - 1, (number > 0) + (number < shape.pipe - 1)
        pipe: float = neighbours * activation_bytes  # activations to the next stage, gradients to the previous one
        if not mesh.sequence_parallel:
            # DeepSpeed sends a slice and gathers it: what a stage received, and before its backward pass what it sent.
            pipe /= shape.tensor
            tensor += (neighbours + after) * ring_all_gather(activation_bytes, shape.tensor)
        copies = ring_all_reduce(parameters.copied * number_bytes, 2)
        found.append(
            WireBytes(
                tensor=tensor * micro_batches,
                context=context * micro_batches,
                pipe=pipe * micro_batches + copies,
                data=_sent_by_zero(parameters, shape.replicas, zero_stage, micro_batches) * number_bytes,
            )
        )
    return max(found, key=lambda wires: wires.total)


def _sent_by_zero(parameters: StageParameters, replicas: int, zero_stage: int, micro_batches: int) -> float:
    """Returns the numbers that ZeRO sends in a step (Rajbhandari et al. 2020, section 7), as DeepSpeed 0.19 implements it.

    In units of the parameters: 2 for an all-reduce of the gradients, which stage 2 does in every micro-batch; 1 more at
    stages 1 and 2 for the updated weights; at stage 3 in every micro-batch 2 to gather the weights, forward and backward,
    and 1 to scatter the gradients. Stage 3 is counted without layers that stay gathered.
    """
    unit, reused = (ring_all_gather(count, replicas) for count in (parameters.held, parameters.reused))
    return (2 * unit, 3 * unit, (2 * micro_batches + 1) * unit, micro_batches * (3 * unit + 2 * reused))[zero_stage]
