"""The conjugate functions f and g of Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053, figure 3).

``group=None`` is one process: both are the identity.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _CopyToTensorAxis(torch.autograd.Function):
    """The paper's f: identity forward, all-reduce backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # A copy: autograd may have handed the same tensor to a branch that must not see the sum.
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


class _ReduceFromTensorAxis(torch.autograd.Function):
    """The paper's g: all-reduce forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def copy_to_tensor_axis(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """f: hand a replicated tensor to split layers; their input gradients are summed on the way back."""
    return x if group is None else _CopyToTensorAxis.apply(x, group)


def reduce_from_tensor_axis(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """g: sum the partial outputs of split layers; the gradient goes back to each of them unchanged."""
    return x if group is None else _ReduceFromTensorAxis.apply(x, group)
