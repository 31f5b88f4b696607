"""How a world of ranks is cut into pipe, data and tensor axes: pure arithmetic."""

from megalite.config.errors import ConfigError


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
