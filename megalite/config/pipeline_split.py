"""Which layers of the list each pipeline stage holds: pure arithmetic."""

import heapq
from itertools import accumulate

from megalite.config.errors import ConfigError
from megalite.config.model import ModelConfig
from megalite.config.parameters import attention_weights, head_weights, mlp_weights
from megalite.config.schema import ParallelSection


def stage_bounds(model: ModelConfig, parallel: ParallelSection) -> list[int]:
    """``p + 1`` bounds: stage s holds layers ``[bounds[s], bounds[s + 1])`` of embedding, L decoder layers, norm, head.

    Raises: ConfigError where there are fewer layers than stages, or an explicit split does not add up.
    """
    *inner, _ = accumulate(stage_layers(model, parallel), initial=1)  # the embedding goes with the first stage
    return [0, *inner[1:], model.num_hidden_layers + 3]  # norm and head with the last


def stage_layers(model: ModelConfig, parallel: ParallelSection) -> list[int]:
    """Decoder layers of every stage: ``parallel.pipeline_split``, or as equal in work as whole layers allow.

    Every stage has at least one. It then holds matrices and norms, and so the same optimizer groups as all others:
    DeepSpeed's ZeRO optimizer sums the gradient norm over the stages once for each of its groups, and a stage with fewer
    groups would leave the others waiting.

    Raises: as ``stage_bounds``.
    """
    stages, layers, split = parallel.pipeline_parallel_size, model.num_hidden_layers, parallel.pipeline_split
    if stages > layers:
        raise ConfigError(
            f"parallel.pipeline_parallel_size={stages} is more than model.num_hidden_layers={layers}; every stage "
            f"needs a decoder layer"
        )
    if split is None:
        return _balanced(model, stages)
    if len(split) != stages or sum(split) != layers or 0 in split:
        raise ConfigError(
            f"parallel.pipeline_split={list(split)} is {len(split)} stages of {' + '.join(map(str, split))} = {sum(split)} "
            f"layers; parallel.pipeline_parallel_size={stages} and model.num_hidden_layers={layers} ask for {stages} "
            f"stages of at least one layer that add up to {layers}"
        )
    return list(split)


def _balanced(model: ModelConfig, stages: int) -> list[int]:
    """Layers are dealt out one by one to the stage with the least work.

    Work is the weights that multiply a token: a layer's matrices, and V*H more on the last stage for the head; an embedding
    is looked up, which costs nothing. Of equal stages the later one takes the layer: the earlier hold more activations.
    Layers cost the same, so this makes the busiest stage as light as any split can.
    """
    layer, head = attention_weights(model) + mlp_weights(model), head_weights(model)
    counts = [1] * stages
    work = [(layer + (head if stage == stages - 1 else 0), -stage) for stage in range(stages)]
    heapq.heapify(work)
    for _ in range(model.num_hidden_layers - stages):
        least, stage = work[0]
        counts[-stage] += 1
        heapq.heapreplace(work, (least + layer, stage))
    return counts
