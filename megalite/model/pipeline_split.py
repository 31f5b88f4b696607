"""Which layers of the list each pipeline stage holds."""

import heapq
from itertools import accumulate

from megalite.config.layout import check_pipeline_split
from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection
from megalite.model.layer_shapes import layer_flops


def stage_bounds(model: ModelConfig, parallel: ParallelSection) -> list[int]:
    """Returns ``p + 1`` bounds: pipeline stage s holds layers ``[bounds[s], bounds[s + 1])`` of the list.

    Raises: ConfigError if the model has fewer decoder layers than stages, or an explicit split does not add up.
    """
    *inner, _ = accumulate(stage_layers(model, parallel), initial=1)  # the embedding goes with the first stage
    return [0, *inner[1:], model.num_hidden_layers + 3]  # the final norm and the head go with the last


def stage_layers(model: ModelConfig, parallel: ParallelSection) -> list[int]:
    """Returns the decoder layers of every pipeline stage: ``parallel.pipeline_split``, or an even split by FLOPs.

    Raises: as ``stage_bounds``.
    """
    check_pipeline_split(model, parallel)
    if parallel.pipeline_split is not None:
        return list(parallel.pipeline_split)
    return _balanced(model, parallel.pipeline_parallel_size)


def _balanced(model: ModelConfig, stages: int) -> list[int]:
    """Assigns layers one by one to the stage with the fewest FLOPs in matrix products, counting the head to the last stage.

    Among equal stages the later one gets the layer: earlier stages store more activations. For layers that cost the same
    (others count with their mean), no split has a lighter busiest stage.
    """
    if stages == 1:
        return [model.num_hidden_layers]
    _, *decoder, norm, head = (layer.products for layer in layer_flops(model, 1))
    layer, end = sum(decoder), (norm + head) * len(decoder)  # both times the number of layers, to stay whole numbers
    counts = [1] * stages
    work = [(layer + (end if stage == stages - 1 else 0), -stage) for stage in range(stages)]
    heapq.heapify(work)
    for _ in range(len(decoder) - stages):
        least, stage = work[0]
        counts[-stage] += 1
        heapq.heapreplace(work, (least + layer, stage))
    return counts
