"""Bytes of model state on one device, by ZeRO stage (Rajbhandari et al. 2020, arXiv:1910.02054, figure 1)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from megalite.config.grid import GridShape
from megalite.config.schema import RunConfig
from megalite.model.layer_shapes import parameters_by_name
from megalite.planning.counting_mesh import CountingMesh
from megalite.planning.pipeline_stages import pipeline_stages
from megalite.training.optimizers.definition import state_numel


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
    stages = pipeline_stages(config, CountingMesh.of(shape, config.parallel.sequence_parallel))
    states = [
        model_state_bytes(
            {name: parameter.shape for name, parameter in parameters_by_name(stage).items()},
            config.optimizer.name,
            config.training.precision,
            zero_stage,
            shape.replicas,
        )
        for stage in stages
    ]
    return max(states, key=lambda state: state.total)


def model_state_bytes(
    shapes: Mapping[str, torch.Size], optimizer: str, precision: str, zero_stage: int, replicas: int
) -> ModelState:
    """Returns what parameters of these shapes on a device need.

    fp32, and bf16 without ZeRO (autocast over fp32 weights): 4 bytes of weight and 4 of gradient. bf16 with ZeRO: 2 of
    weight, 4 of gradient (accumulated in fp32) and 4 of master weight. The optimizer's state, which the optimizer declares,
    is in fp32: 8 bytes per parameter for AdamW. Stage 1 divides the optimizer state by the number of replicas (d * c), stage
    2 the gradients too, stage 3 the weights as well.
    """
    parameters = sum(shape.numel() for shape in shapes.values())
    weight, master = (2, 4) if precision == "bf16" and zero_stage > 0 else (4, 0)
    kept = parameters * master + 4 * state_numel(optimizer, shapes)
    return ModelState(
        weights=parameters * weight / (replicas if zero_stage >= 3 else 1),
        gradients=parameters * 4 / (replicas if zero_stage >= 2 else 1),
        optimizer=kept / (replicas if zero_stage >= 1 else 1),
    )
