"""Which layers of the list each pipeline stage holds: pure arithmetic."""

from megalite.config.errors import ConfigError
from megalite.config.model import ModelConfig
from megalite.config.parameters import layer_parameters
from megalite.config.schema import ParallelSection


def stage_bounds(model: ModelConfig, parallel: ParallelSection) -> list[int]:
    """``p + 1`` bounds: stage s holds layers ``[bounds[s], bounds[s + 1])`` of embedding, L decoder layers, norm, head.

    Raises: ConfigError where there are fewer layers than stages, or an explicit split does not add up.
    """
    stages, layers, split = parallel.pipeline_parallel_size, model.num_hidden_layers, parallel.pipeline_split
    if split is None:
        if stages > layers:
            raise ConfigError(
                f"parallel.pipeline_parallel_size={stages} is more than model.num_hidden_layers={layers}; every stage "
                f"needs a decoder layer"
            )
        return _balanced(_layer_weights(model), stages)
    if len(split) != stages or sum(split) != layers:
        raise ConfigError(
            f"parallel.pipeline_split={list(split)} is {len(split)} stages of {' + '.join(map(str, split))} = {sum(split)} "
            f"layers; parallel.pipeline_parallel_size={stages} and model.num_hidden_layers={layers} ask for {stages} "
            f"stages that add up to {layers}"
        )
    bounds = [0, 1]  # the embedding goes with the first stage, norm and head with the last
    for count in split:
        bounds.append(bounds[-1] + count)
    return [0, *bounds[2:-1], layers + 3]


def _layer_weights(model: ModelConfig) -> list[int]:
    """Parameters of every entry of the list; a tied head counts, its stage holds a copy."""
    table = model.vocab_size * model.hidden_size
    return [table, *[layer_parameters(model)] * model.num_hidden_layers, model.hidden_size, table]


def _balanced(weights: list[int], parts: int) -> list[int]:
    """Bounds of consecutive non-empty parts whose heaviest is as light as possible.

    Dynamic programming over (part, end): the linear partition problem (Skiena, The Algorithm Design Manual, 10.7).
    """
    sums = [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    count = len(weights)
    # best[end] = (heaviest part, bounds) of cutting weights[:end] into the parts so far
    best = {end: (sums[end], [0, end]) for end in range(1, count + 1)}
    for part in range(2, parts + 1):
        best = {
            end: min((max(best[cut][0], sums[end] - sums[cut]), [*best[cut][1], end]) for cut in range(part - 1, end))
            for end in range(part, count + 1)
        }
    return best[count][1]
