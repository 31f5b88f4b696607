"""The grid of ranks with its pipe, data, context and tensor axes, and a process group for each axis."""

from dataclasses import dataclass, field
from typing import Self

import torch.distributed as dist

from megalite.config.grid import GridShape, grid_shape
from megalite.config.schema import ParallelSection

Group = dist.ProcessGroup


@dataclass(frozen=True)
class Mesh:
    """This rank's coordinates in the grid, and its process groups.

    Rank order is pipe, data, context, tensor, with the tensor axis fastest: ``rank = ((pipe * d + data) * c + context) * t +
    tensor``. The data and context axes together are DeepSpeed's data-parallel group: ranks with the same weights that read
    other tokens. The order matches ``PipeModelDataParallelTopology``. Without a pipeline the mesh is DeepSpeed's ``mpu``,
    with the ``get_*`` methods as its interface. Every axis has a group, also at size 1, because ``group=None`` means the
    whole world to torch.distributed and DeepSpeed. In a single process without torch.distributed all groups are None.
    """

    pipe_rank: int = 0
    pipe_size: int = 1
    data_rank: int = 0
    data_size: int = 1
    context_rank: int = 0
    context_size: int = 1
    tensor_rank: int = 0
    tensor_size: int = 1
    sequence_parallel: bool = False
    """Whether activations between the split layers are split along the sequence over the tensor axis."""
    pipe_group: Group | None = None
    data_parallel_group: Group | None = None
    """The d * c ranks that hold the same weights and read other tokens."""
    context_group: Group | None = None
    tensor_group: Group | None = None
    _tensor_subgroups: dict[int, Group] = field(default_factory=dict, compare=False)

    @classmethod
    def single(cls) -> Self:
        """The mesh of one process, without torch.distributed."""
        return cls()

    @classmethod
    def create(cls, parallel: ParallelSection | None = None) -> Self:
        """Divide the world into axes; without ``parallel`` all ranks are data-parallel. Collective.

        Raises: ConfigError if the world size does not divide.
        """
        parallel = parallel or ParallelSection()
        rank = dist.get_rank()
        p, d, c, t = grid_shape(dist.get_world_size(), parallel)
        pipe, replica, tensor = rank // (d * c * t), rank // t % (d * c), rank % t
        return cls(
            pipe_rank=pipe,
            pipe_size=p,
            data_rank=replica // c,
            data_size=d,
            context_rank=replica % c,
            context_size=c,
            tensor_rank=tensor,
            tensor_size=t,
            sequence_parallel=parallel.sequence_parallel,
            pipe_group=_group(rank - pipe * d * c * t, d * c * t, p),
            data_parallel_group=_group(rank - replica * t, t, d * c),
            context_group=_group(rank - (replica % c) * t, t, c),
            tensor_group=_group(rank - tensor, 1, t),
        )

    @property
    def shape(self) -> GridShape:
        return GridShape(self.pipe_size, self.data_size, self.context_size, self.tensor_size)

    @property
    def split_group(self) -> Group | None:
        """The tensor group, or None at t = 1, when split layers are plain layers."""
        return self.tensor_group if self.tensor_size > 1 else None

    @property
    def sequence_group(self) -> Group | None:
        """The tensor group if it also splits the sequence between the layers, else None."""
        return self.tensor_group if self.sequence_parallel else None

    @property
    def replicas(self) -> int:
        """Size of the data-parallel group, d * c."""
        return self.shape.replicas

    def tensor_subgroup(self, size: int) -> Group | None:
        """This rank's group of ``size`` neighbouring tensor-parallel ranks; None for size 1. Collective over the group."""
        if size == 1:
            return None
        if size not in self._tensor_subgroups:
            first = dist.get_rank() - self.tensor_rank % size
            self._tensor_subgroups[size] = _group(first, 1, size)
        return self._tensor_subgroups[size]

    def get_model_parallel_rank(self) -> int:
        return self.tensor_rank

    def get_model_parallel_world_size(self) -> int:
        return self.tensor_size

    def get_model_parallel_group(self) -> Group | None:
        return self.tensor_group

    get_tensor_model_parallel_rank = get_model_parallel_rank  # Megatron-core's names
    get_tensor_model_parallel_world_size = get_model_parallel_world_size

    def get_data_parallel_rank(self) -> int:
        return self.data_rank * self.context_size + self.context_rank

    def get_data_parallel_world_size(self) -> int:
        return self.replicas

    def get_data_parallel_group(self) -> Group | None:
        return self.data_parallel_group


def _group(first: int, stride: int, size: int) -> Group:
    """The group of ``size`` ranks, ``stride`` apart. Collective over its members only."""
    return dist.new_group(list(range(first, first + size * stride, stride)), use_local_synchronization=True)
