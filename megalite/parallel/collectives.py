"""Collectives that autograd can differentiate; every function names its forward and its backward.

The tensor axis: f and g of Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053, figure 3), and with sequence parallelism g
and g-bar (Korthikanti et al. 2022, arXiv:2205.05198, figure 5). The context axis: DeepSpeed-Ulysses' exchange (Jacobs et
al. 2023, arXiv:2309.14509, figure 2). With ``group=None`` (one process) all are the identity.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from megalite.parallel.mesh import Group, Mesh

Operation = Callable[[Tensor], Tensor]
SEQUENCE_DIM = 1
"""Dim of hidden states ``(B, S, H)``."""


def enter_split_layers(x: Tensor, mesh: Mesh) -> Tensor:
    """Pass hidden states to layers that are split over the tensor axis.

    Shape: ``(B, S, H)`` -> the same; with sequence parallelism ``(B, S/t, H)`` -> ``(B, S, H)``.
    """
    if mesh.sequence_group is not None:
        group = mesh.sequence_group  # g of Korthikanti et al.
        return _Collective.apply(x, partial(_all_gather, group=group), partial(_reduce_scatter, group=group))
    return copy_to_tensor_axis(x, mesh.split_group)


def leave_split_layers(x: Tensor, mesh: Mesh) -> Tensor:
    """Sum the partial outputs ``x`` of split layers over the tensor axis.

    Shape: ``(B, S, H)`` -> the same; with sequence parallelism ``(B, S/t, H)``.
    """
    if mesh.sequence_group is not None:
        group = mesh.sequence_group  # g-bar of Korthikanti et al.
        return _Collective.apply(x, partial(_reduce_scatter, group=group), partial(_all_gather, group=group))
    return reduce_from_tensor_axis(x, mesh.split_group)


def copy_to_tensor_axis(x: Tensor, group: Group | None) -> Tensor:
    """f: identity forward, all-reduce backward. Passes a replicated tensor to split layers."""
    return x if group is None else _Collective.apply(x, _identity, partial(_all_reduce, group=group))


def reduce_from_tensor_axis(x: Tensor, group: Group | None) -> Tensor:
    """g: all-reduce forward, identity backward. Sums the partial outputs of split layers."""
    return x if group is None else _Collective.apply(x, partial(_all_reduce, group=group), _identity)


def exchange(x: Tensor, group: Group | None, split_dim: int, gather_dim: int) -> Tensor:
    """All-to-all: cut ``x`` along ``split_dim``, one part per rank, and join the received parts along ``gather_dim``.

    Backward is the inverse exchange.
    """
    if group is None:
        return x
    forward = partial(_all_to_all, group=group, split_dim=split_dim, gather_dim=gather_dim)
    return _Collective.apply(x, forward, partial(_all_to_all, group=group, split_dim=gather_dim, gather_dim=split_dim))


class _Collective(torch.autograd.Function):
    """A linear operation whose backward pass is its transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, operation: Operation, transpose: Operation) -> Tensor:
        ctx.transpose = transpose
        return operation(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose(grads[0]), None, None


def _identity(x: Tensor) -> Tensor:
    return x.view_as(x)


def _all_reduce(x: Tensor, group: Group) -> Tensor:
    # A copy, because autograd may also pass this tensor to a branch that must not see the sum.
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def _all_gather(x: Tensor, group: Group) -> Tensor:
    """``(B, S/t, H)`` -> ``(B, S, H)``."""
    parts = x.new_empty(dist.get_world_size(group), *x.shape)
    dist.all_gather_into_tensor(parts.flatten(0, 1), x.contiguous(), group=group)
    return torch.cat(parts.unbind(), dim=SEQUENCE_DIM)


def _reduce_scatter(x: Tensor, group: Group) -> Tensor:
    """``(B, S, H)`` -> the sum's slice ``(B, S/t, H)`` of this rank."""
    parts = torch.cat(x.chunk(dist.get_world_size(group), dim=SEQUENCE_DIM))  # stacked along dim 0
    mine = x.new_empty(x.shape[0], x.shape[1] // dist.get_world_size(group), *x.shape[2:])
    dist.reduce_scatter_tensor(mine, parts, group=group)
    return mine


def _all_to_all(x: Tensor, group: Group, split_dim: int, gather_dim: int) -> Tensor:
    sent = torch.stack(x.chunk(dist.get_world_size(group), dim=split_dim))
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return torch.cat(received.unbind(), dim=gather_dim)
