"""The grid of ranks: pipe, data and tensor axes, with a process group for each."""

from dataclasses import dataclass
from typing import Self

import torch.distributed as dist

from megalite.config.grid import grid_shape

Group = dist.ProcessGroup


@dataclass(frozen=True)
class Mesh:
    """This rank's place in the grid, and the groups it talks in.

    Rank order is pipe, data, tensor, the tensor axis fastest, as DeepSpeed's ``PipeModelDataParallelTopology`` has it:
    ``rank = (pipe * d + data) * t + tensor``. Every axis has a group, also at size 1: to torch.distributed and DeepSpeed
    ``group=None`` is the whole world. Groups are None in one process without torch.distributed. At p = 1 the mesh is
    DeepSpeed's ``mpu``: the ``get_*`` methods are that interface.
    """

    pipe_rank: int = 0
    pipe_size: int = 1
    data_rank: int = 0
    data_size: int = 1
    tensor_rank: int = 0
    tensor_size: int = 1
    pipe_group: Group | None = None
    data_group: Group | None = None
    tensor_group: Group | None = None

    @classmethod
    def single(cls) -> Self:
        """One process; needs no torch.distributed."""
        return cls()

    @classmethod
    def create(cls, tensor_parallel_size: int = 1, pipeline_parallel_size: int = 1) -> Self:
        """Cut the joined world into axes. Collective: every rank must call it.

        Raises: ConfigError where the world does not divide.
        """
        rank, world = dist.get_rank(), dist.get_world_size()
        p, d, t = grid_shape(world, tensor_parallel_size, pipeline_parallel_size)
        pipe_rank, data_rank, tensor_rank = rank // (d * t), rank // t % d, rank % t
        first_tensor, first_data, first_pipe = rank - tensor_rank, rank - data_rank * t, rank - pipe_rank * d * t
        return cls(
            pipe_rank=pipe_rank,
            pipe_size=p,
            data_rank=data_rank,
            data_size=d,
            tensor_rank=tensor_rank,
            tensor_size=t,
            tensor_group=_group(first_tensor, 1, t),
            data_group=_group(first_data, t, d),
            pipe_group=_group(first_pipe, d * t, p),
        )

    @property
    def split_group(self) -> Group | None:
        """The group that split layers talk in; None at t = 1, where they are plain layers."""
        return self.tensor_group if self.tensor_size > 1 else None

    def get_model_parallel_rank(self) -> int:
        """``mpu``: rank on the tensor axis."""
        return self.tensor_rank

    def get_model_parallel_world_size(self) -> int:
        """``mpu``: t."""
        return self.tensor_size

    def get_model_parallel_group(self) -> Group | None:
        """``mpu``: the ranks that share a layer's slices."""
        return self.tensor_group

    def get_tensor_model_parallel_rank(self) -> int:
        """``mpu``: rank on the tensor axis, by Megatron-core's name."""
        return self.tensor_rank

    def get_tensor_model_parallel_world_size(self) -> int:
        """``mpu``: t, by Megatron-core's name."""
        return self.tensor_size

    def get_data_parallel_rank(self) -> int:
        """``mpu``: rank on the data axis."""
        return self.data_rank

    def get_data_parallel_world_size(self) -> int:
        """``mpu``: d."""
        return self.data_size

    def get_data_parallel_group(self) -> Group | None:
        """``mpu``: the ranks that hold the same slices."""
        return self.data_group


def _group(first: int, stride: int, size: int) -> Group:
    """The group of ``size`` ranks, ``stride`` apart. Only its members take part, so a rank makes three at any world size."""
    return dist.new_group(list(range(first, first + size * stride, stride)), use_local_synchronization=True)
