"""Counts the bytes that a rank sends in collectives of torch.distributed."""

from collections import defaultdict
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from megalite.planning.counting_mesh import ring_all_gather, ring_all_reduce

NOTHING_KEPT = {
    "stage3_param_persistence_threshold": 0,
    "stage3_max_live_parameters": 0,
    "stage3_max_reuse_distance": 0,
}
"""By default DeepSpeed keeps small models gathered on every rank, without the traffic of ZeRO-3."""


class WireCounter(TorchDispatchMode):
    """Adds the bytes of this rank to ``sent[operation]``, under ring algorithms."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: defaultdict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            name = func._opname
            ranks = next((g.size() for g in map(_group, args) if g is not None), 1)
            self.sent[name] += _sent(name, _bytes(args[0]), ranks)
        return func(*args, **(kwargs or {}))


def _sent(name: str, payload: int, ranks: int) -> float:
    """``payload``: bytes of the operation's first argument, which it writes or sends."""
    if name.startswith("allreduce"):
        return ring_all_reduce(payload, ranks)
    if name.startswith(("allgather", "_allgather", "alltoall")):
        return ring_all_gather(payload, ranks)
    if name.startswith(("reduce_scatter", "_reduce_scatter")):
        return ring_all_gather(payload * ranks, ranks)
    if name.startswith(("broadcast", "reduce_")):
        return payload * (ranks - 1) / ranks
    return payload if name == "send" else 0


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def _group(value: Any) -> dist.ProcessGroup | None:
    if isinstance(value, torch.ScriptObject):
        try:
            return dist.ProcessGroup.unbox(value)
        except RuntimeError:  # a ReduceOp, which is boxed as well
            return None
    return None
