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
    ``rank = (pipe * d + data) * t + tensor``. A group is None where its axis has size 1. At p = 1 the mesh is
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
        ranks = [[[(pipe * d + data) * t + tensor for tensor in range(t)] for data in range(d)] for pipe in range(p)]
        pipe_rank, data_rank, tensor_rank = rank // (d * t), rank // t % d, rank % t
        along_tensor = [ranks[i][j] for i in range(p) for j in range(d)]
        along_data = [[ranks[i][j][k] for j in range(d)] for i in range(p) for k in range(t)]
        along_pipe = [[ranks[i][j][k] for i in range(p)] for j in range(d) for k in range(t)]
        return cls(
            pipe_rank=pipe_rank,
            pipe_size=p,
            data_rank=data_rank,
            data_size=d,
            tensor_rank=tensor_rank,
            tensor_size=t,
            pipe_group=_own_group(along_pipe, rank),
            data_group=_own_group(along_data, rank),
            tensor_group=_own_group(along_tensor, rank),
        )

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


def _own_group(rank_lists: list[list[int]], rank: int) -> Group | None:
    """The group of this rank among groups that every rank creates in the same order."""
    if len(rank_lists[0]) == 1:
        return None
    groups = {tuple(ranks): dist.new_group(ranks) for ranks in rank_lists}
    return next(group for ranks, group in groups.items() if rank in ranks)
