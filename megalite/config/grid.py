"""How a world of ranks is cut into pipe, data and tensor axes: pure arithmetic."""

from megalite.config.errors import ConfigError
from megalite.config.model import ModelConfig


def grid_shape(world_size: int, tensor_parallel_size: int, pipeline_parallel_size: int) -> tuple[int, int, int]:
    """``(p, d, t)``: the data axis takes what tensor and pipe leave of the world.

    Raises: ConfigError with the arithmetic where the world does not divide.
    """
    together = tensor_parallel_size * pipeline_parallel_size
    if world_size % together:
        raise ConfigError(
            f"world size {world_size} does not divide by parallel.tensor_parallel_size={tensor_parallel_size} x "
            f"parallel.pipeline_parallel_size={pipeline_parallel_size} = {together}; start a multiple of {together} ranks"
        )
    return pipeline_parallel_size, world_size // together, tensor_parallel_size


def check_tensor_split(model: ModelConfig, tensor_parallel_size: int) -> None:
    """Refuse a decoder whose heads or features cannot be dealt out evenly; the vocabulary may be uneven, it is padded.

    Raises: ConfigError naming the key.
    """
    for key, size in {
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.key_value_heads,
        "intermediate_size": model.intermediate_size,
    }.items():
        if size % tensor_parallel_size:
            raise ConfigError(
                f"model.{key}={size} does not divide by parallel.tensor_parallel_size={tensor_parallel_size}; every "
                f"tensor-parallel rank holds equally many, so change one of them"
            )
