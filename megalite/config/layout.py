"""Checks that a layout fits the model, before anything is launched."""

from megalite.config.errors import ConfigError
from megalite.config.grid import GridShape
from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection, RunConfig


def check_layout(config: RunConfig, shape: GridShape, zero_stage: int) -> None:
    """Checks that the mesh fits the model, the sequence and the ZeRO stage.

    Raises: ConfigError naming the key, the numbers and what would fit.
    """
    _check_tensor_axis(config, shape)
    _check_sequence(config, shape)
    if shape.pipe > 1 and zero_stage > 1:
        raise ConfigError(
            f"parallel.pipeline_parallel_size={shape.pipe} with zero_optimization.stage={zero_stage}: a pipeline stage runs "
            f"many micro-batches between gradient reductions, which ZeRO 2 and 3 do not support; use ZeRO stage 0 or 1"
        )
    if shape.pipe > 1 or config.parallel.pipeline_split is not None:
        check_pipeline_split(config.model, config.parallel)


def check_pipeline_split(model: ModelConfig, parallel: ParallelSection) -> None:
    """Checks that every pipeline stage gets a decoder layer, and that an explicit split adds up.

    A stage with a decoder layer holds matrices and norms, and so the same optimizer groups as all others: DeepSpeed's ZeRO
    optimizer sums the gradient norm over the stages once per group, and a stage with fewer groups would deadlock the rest.

    Raises: ConfigError.
    """
    stages, layers, split = parallel.pipeline_parallel_size, model.num_hidden_layers, parallel.pipeline_split
    if stages > layers:
        raise ConfigError(
            f"parallel.pipeline_parallel_size={stages} is more than model.num_hidden_layers={layers}; every stage "
            f"needs a decoder layer"
        )
    if split is not None and (len(split) != stages or sum(split) != layers or 0 in split):
        raise ConfigError(
            f"parallel.pipeline_split={list(split)} is {len(split)} stages of {' + '.join(map(str, split))} = {sum(split)} "
            f"layers; parallel.pipeline_parallel_size={stages} and model.num_hidden_layers={layers} require {stages} "
            f"stages of at least one layer that add up to {layers}"
        )


def _check_tensor_axis(config: RunConfig, shape: GridShape) -> None:
    model, t = config.model, shape.tensor
    key_value, axis = model.key_value_heads, f"parallel.tensor_parallel_size={t}"
    for key, size in (
        ("num_attention_heads", model.num_attention_heads),
        ("intermediate_size", model.intermediate_size),
    ):
        if size % t:
            raise ConfigError(
                f"model.{key}={size} is not a multiple of {axis} ({size} = {size // t} x {t} + {size % t}); every rank "
                f"holds equally many, so change one of them"
            )
    if key_value % t and t % key_value:
        raise ConfigError(
            f"model.num_key_value_heads={key_value} and {axis}: neither divides the other, so heads can be neither split "
            f"nor replicated evenly; change one of them"
        )


def _check_sequence(config: RunConfig, shape: GridShape) -> None:
    model, length, c, t = config.model, config.data.sequence_length, shape.context, shape.tensor
    parallel = config.parallel
    if parallel.sequence_parallel and t == 1:
        raise ConfigError(
            "parallel.sequence_parallel=true with parallel.tensor_parallel_size=1: there is no tensor axis to split the "
            "sequence over; turn it off, or raise the tensor-parallel size"
        )
    parts = c * (t if parallel.sequence_parallel else 1)
    if length % parts:
        factors = f"parallel.context_parallel_size={c}"
        if parallel.sequence_parallel:
            factors += f" x parallel.tensor_parallel_size={t} (parallel.sequence_parallel) = {parts}"
        raise ConfigError(
            f"data.sequence_length={length} is not a multiple of {factors}; use {length // parts * parts or parts} or "
            f"{(length // parts + 1) * parts}"
        )
    heads = model.num_attention_heads // t
    if heads % c:
        raise ConfigError(
            f"model.num_attention_heads={model.num_attention_heads} / parallel.tensor_parallel_size={t} = {heads} heads per "
            f"rank are not a multiple of parallel.context_parallel_size={c}; the attention exchanges heads for tokens"
        )
