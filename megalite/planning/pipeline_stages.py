"""The pipeline stages of a run, built on torch's meta device: what a device of each holds."""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from megalite.config.schema import RunConfig
from megalite.model.layer_execution import LayerExecution
from megalite.model.layer_shapes import layers_on_meta, parameters_by_name
from megalite.model.pipeline_split import stage_bounds
from megalite.parallel.mesh import Mesh


class StageParameters(NamedTuple):
    """Numbers of parameters on one device of a pipeline stage, padding included."""

    held: int
    """All; a tied table counts once."""
    reused: int
    """Of them, those that two layers of the stage use."""
    copied: int
    """Of them, those of which another stage holds a copy."""


def pipeline_stages(config: RunConfig, mesh: Mesh) -> list[list[nn.Module]]:
    """Returns the layers of every stage, as rank 0 of the tensor axis holds them."""
    dtype = torch.bfloat16 if config.training.precision == "bf16" else torch.float32
    layers = layers_on_meta(config.model, mesh, LayerExecution.from_config(config.training))
    bounds = stage_bounds(config.model, config.parallel)
    return [[layer.to(dtype) for layer in layers[start:end]] for start, end in pairwise(bounds)]


def stage_parameters(stages: list[list[nn.Module]]) -> list[StageParameters]:
    """Counts the parameters of ``pipeline_stages``."""
    parameters = [parameters_by_name(stage) for stage in stages]
    stages_with = Counter(name for held in parameters for name in held)
    return [
        StageParameters(
            held=sum(parameter.numel() for parameter in held.values()),
            reused=sum(p.numel() for layer in stage for p in layer.parameters())
            - sum(p.numel() for p in held.values()),
            copied=sum(parameter.numel() for name, parameter in held.items() if stages_with[name] > 1),
        )
        for stage, held in zip(stages, parameters, strict=True)
    ]
