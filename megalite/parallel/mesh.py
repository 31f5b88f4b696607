"""The grid of ranks: pipe, data, context and tensor axes, with a process group for each."""

from dataclasses import dataclass, field
from typing import Self

import torch.distributed as dist

from megalite.config.grid import GridShape, grid_shape
from megalite.config.schema import ParallelSection

Group = dist.ProcessGroup


@dataclass(frozen=True)
class Mesh:
    """This rank's place in the grid, and the groups it talks in.

    Rank order is pipe, data, context, tensor, the tensor axis fastest: ``rank = ((pipe * d + data) * c + context) * t +
    tensor``. Data and context together are what DeepSpeed calls data-parallel: ranks with the same weights and other
    tokens. So the order is that of its ``PipeModelDataParallelTopology``, and at p = 1 the mesh is its ``mpu``: the
    ``get_*`` methods are that interface. Every axis has a group, also at size 1: to torch.distributed and DeepSpeed
    ``group=None`` is the whole world. Groups are None in one process without torch.distributed.
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
    """The d * c ranks with this rank's weights."""
    context_group: Group | None = None
    tensor_group: Group | None = None
    _tensor_subgroups: dict[int, Group] = field(default_factory=dict, compare=False)

    @classmethod
    def single(cls) -> Self:
        """One process; needs no torch.distributed."""
        return cls()

    @classmethod
    def create(cls, parallel: ParallelSection | None = None) -> Self:
        """Cut the joined world into axes (all of it data-parallel without ``parallel``). Collective.

        Raises: ConfigError where the world does not divide.
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
        """Sizes of the axes."""
        return GridShape(self.pipe_size, self.data_size, self.context_size, self.tensor_size)

    @property
    def split_group(self) -> Group | None:
        """The group that split layers talk in; None at t = 1, where they are plain layers."""
        return self.tensor_group if self.tensor_size > 1 else None

    @property
    def sequence_group(self) -> Group | None:
        """The tensor group where it also splits the sequence between the layers, else None."""
        return self.tensor_group if self.sequence_parallel else None

    @property
    def replicas(self) -> int:
        """D * c, ranks with this rank's weights and other tokens."""
        return self.shape.replicas

    def tensor_subgroup(self, size: int) -> Group | None:
        """The ``size`` neighbouring tensor-parallel ranks that this one belongs to; None for one. Collective among them."""
        if size == 1:
            return None
        if size not in self._tensor_subgroups:
            first = dist.get_rank() - self.tensor_rank % size
            self._tensor_subgroups[size] = _group(first, 1, size)
        return self._tensor_subgroups[size]

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
        """``mpu``: rank among the ranks with the same slices."""
        return self.data_rank * self.context_size + self.context_rank

    def get_data_parallel_world_size(self) -> int:
        """``mpu``: d * c."""
        return self.replicas

    def get_data_parallel_group(self) -> Group | None:
        """``mpu``: the ranks that hold the same slices."""
        return self.data_parallel_group


def _group(first: int, stride: int, size: int) -> Group:
    """The group of ``size`` ranks, ``stride`` apart. Only its members take part: a rank makes four at any world size."""
    return dist.new_group(list(range(first, first + size * stride, stride)), use_local_synchronization=True)
