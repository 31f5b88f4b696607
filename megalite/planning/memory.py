"""Bytes of model state on one device, by ZeRO stage (Rajbhandari et al. 2020, arXiv:1910.02054, figure 1)."""

from typing import NamedTuple

from megalite.config.grid import GridShape
from megalite.config.schema import RunConfig
from megalite.planning.counting_mesh import CountingMesh
from megalite.planning.pipeline_stages import pipeline_stages, stage_parameters


class ModelState(NamedTuple):
    """Bytes on one device, without activations and communication buffers."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer


def model_state(config: RunConfig, shape: GridShape, zero_stage: int) -> ModelState:
    """Returns what one device of the largest pipeline stage holds between the micro-batches."""
    stages = stage_parameters(pipeline_stages(config, CountingMesh.of(shape, config.parallel.sequence_parallel)))
    largest = max(stage.held for stage in stages)
    return model_state_bytes(largest, config.training.precision, zero_stage, shape.replicas)


def model_state_bytes(parameters: int, precision: str, zero_stage: int, replicas: int) -> ModelState:
    """Returns what ``parameters`` on a device need.

    fp32, and bf16 without ZeRO (autocast over fp32 weights): 4 bytes of weight, 4 of gradient, 8 of moments. bf16 with
    ZeRO: 2 of weight, 4 of gradient (accumulated in fp32), 12 of master weight and moments. Stage 1 divides the
    optimizer state by the number of replicas (d * c), stage 2 the gradients too, stage 3 the weights as well.
    """
    low_precision_weights = precision == "bf16" and zero_stage > 0
    weights, gradients, optimizer = (2, 4, 12) if low_precision_weights else (4, 4, 8)
    return ModelState(
        weights=parameters * weights / (replicas if zero_stage >= 3 else 1),
        gradients=parameters * gradients / (replicas if zero_stage >= 2 else 1),
        optimizer=parameters * optimizer / (replicas if zero_stage >= 1 else 1),
    )
