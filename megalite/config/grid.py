"""The shape of the mesh: how the ranks divide into pipe, data, context and tensor axes."""

from typing import NamedTuple

from megalite.config.errors import ConfigError
from megalite.config.schema import ParallelSection


class GridShape(NamedTuple):
    """Sizes of the four axes, from the slowest-varying to the fastest-varying in rank order."""

    pipe: int
    data: int
    context: int
    tensor: int

    def __str__(self) -> str:
        return f"pipe {self.pipe} x data {self.data} x context {self.context} x tensor {self.tensor}"

    @property
    def world_size(self) -> int:
        """All ranks: p * d * c * t."""
        return self.pipe * self.data * self.context * self.tensor

    @property
    def replicas(self) -> int:
        """Ranks with the same weights, among which ZeRO divides the model state: d * c."""
        return self.data * self.context


def grid_shape(world_size: int, parallel: ParallelSection) -> GridShape:
    """Returns the shape; the data axis gets the ranks that tensor, context and pipe axis leave.

    Raises: ConfigError with the arithmetic if the world size does not divide.
    """
    p, c, t = parallel.pipeline_parallel_size, parallel.context_parallel_size, parallel.tensor_parallel_size
    together = p * c * t
    if world_size % together:
        raise ConfigError(
            f"world size {world_size} is not a multiple of parallel.tensor_parallel_size={t} x "
            f"parallel.pipeline_parallel_size={p} x parallel.context_parallel_size={c} = {together}; start a multiple of "
            f"{together} ranks"
        )
    return GridShape(p, world_size // together, c, t)
