"""A mesh whose process groups count the bytes that they would send: layers can run on the meta device, in one process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist
from torch import Tensor

from megalite.config.grid import GridShape
from megalite.parallel.mesh import Mesh


def ring_all_reduce(payload: float, ranks: int) -> float:
    """Returns the bytes a rank sends to all-reduce ``payload`` bytes: a reduce-scatter and an all-gather."""
    return 2 * ring_all_gather(payload, ranks)


def ring_all_gather(payload: float, ranks: int) -> float:
    """Returns the bytes a rank sends to all-gather, reduce-scatter or exchange ``payload`` bytes, counted over all ranks."""
    return payload * (ranks - 1) / ranks


ProcessGroup: Any = dist.ProcessGroup
"""Its stubs list the overloads of C++, of which PyTorch's collectives call one each."""


class CountingGroup(ProcessGroup):
    """Adds the bytes a rank would send to ``sent[axis]``, under ring algorithms (Thakur et al. 2005, section 4)."""

    def __init__(self, size: int, axis: str, sent: dict[str, float]) -> None:
        super().__init__(0, size)
        self._axis, self._sent = axis, sent

    def allreduce(self, tensors: Sequence[Tensor], *options: Any) -> None:
        self._sent[self._axis] += sum(ring_all_reduce(tensor.nbytes, self.size()) for tensor in tensors)

    def all_gather_single(self, output: Tensor, *options: Any) -> None:
        self._sent[self._axis] += ring_all_gather(output.nbytes, self.size())

    def reduce_scatter_single(self, output: Tensor, whole: Tensor, *options: Any) -> None:
        self._sent[self._axis] += ring_all_gather(whole.nbytes, self.size())

    all_to_all_single = all_gather_single
    # Their names before PyTorch 2.13.
    _allgather_base, _reduce_scatter_base, alltoall_base = all_gather_single, reduce_scatter_single, all_gather_single


@dataclass(frozen=True)
class CountingMesh(Mesh):
    """The place of rank 0."""

    sent: dict[str, float] = field(default_factory=dict, compare=False)
    """Bytes by axis."""

    @classmethod
    def of(cls, shape: GridShape, sequence_parallel: bool) -> "CountingMesh":
        sent = dict.fromkeys(("tensor", "context"), 0.0)
        return cls(
            pipe_size=shape.pipe,
            data_size=shape.data,
            context_size=shape.context,
            tensor_size=shape.tensor,
            sequence_parallel=sequence_parallel,
            context_group=CountingGroup(shape.context, "context", sent),
            tensor_group=CountingGroup(shape.tensor, "tensor", sent),
            sent=sent,
        )

    def tensor_subgroup(self, size: int) -> dist.ProcessGroup | None:
        return None if size == 1 else CountingGroup(size, "tensor", self.sent)
