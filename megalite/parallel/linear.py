"""Linear layers whose weight is split over the tensor-parallel group (Shoeybi et al. 2019, arXiv:1909.08053)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megalite.parallel.collectives import copy_to_tensor_axis, reduce_from_tensor_axis
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import mark_sliced, padded_slice_size


class ColumnParallelLinear(nn.Module):
    """``y = x @ W.T + b`` with the output features of ``W`` split over the tensor-parallel group.

    Rank ``r`` of ``t`` holds rows ``[r*F/t, (r+1)*F/t)`` of the full ``(F, H)`` weight, and of the bias. No communication
    forward; one all-reduce of the input gradient backward (figure 3 of the paper: f, then the layer).

    Args:
        out_features: F, counted over the whole group, not per rank.
        mesh: ``Mesh.single()`` is one process, and the layer is a plain linear.
        input_copied: the caller has applied f to the input, once for several layers that read it.
        pad: pad F to a multiple of t; rows past F are zero. Only for a head, whose loss masks them out.

    Shape: ``(B, S, H)`` equal on every rank -> ``(B, S, F/t)``.
    Raises: ValueError where F does not divide by t and ``pad`` is off.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        mesh: Mesh,
        bias: bool = False,
        input_copied: bool = False,
        pad: bool = False,
    ) -> None:
        """Allocate this rank's slice; ``megalite.model.init`` fills it."""
        super().__init__()
        if out_features % mesh.tensor_size and not pad:
            raise ValueError(f"out_features={out_features} does not divide by tensor_parallel_size={mesh.tensor_size}")
        rows = padded_slice_size(out_features, mesh.tensor_size)
        self.group = None if input_copied else mesh.split_group
        self.weight = nn.Parameter(torch.empty(rows, in_features))
        mark_sliced(self.weight, 0, out_features, mesh.tensor_size)
        self.bias: nn.Parameter | None = None
        if bias:
            self.bias = nn.Parameter(torch.empty(rows))
            mark_sliced(self.bias, 0, out_features, mesh.tensor_size)

    def forward(self, x: Tensor) -> Tensor:
        """This rank's columns of the output."""
        return F.linear(copy_to_tensor_axis(x, self.group), self.weight, self.bias)


class RowParallelLinear(nn.Module):
    """``y = x @ W.T + b`` with the input features of ``W`` split over the tensor-parallel group.

    Rank ``r`` of ``t`` holds columns ``[r*F/t, (r+1)*F/t)`` of the full ``(H, F)`` weight. One all-reduce of the partial
    outputs forward, none backward (figure 3 of the paper: the layer, then g). The bias is whole on every rank and
    added once, after the sum.

    Args:
        in_features: F, counted over the whole group, not per rank.

    Shape: ``(B, S, F/t)`` -> ``(B, S, H)`` equal on every rank.
    Raises: ValueError where F does not divide by t.
    """

    def __init__(self, in_features: int, out_features: int, mesh: Mesh, bias: bool = False) -> None:
        """Allocate this rank's slice; ``megalite.model.init`` fills it."""
        super().__init__()
        if in_features % mesh.tensor_size:
            raise ValueError(f"in_features={in_features} does not divide by tensor_parallel_size={mesh.tensor_size}")
        self.group = mesh.split_group
        self.weight = nn.Parameter(torch.empty(out_features, in_features // mesh.tensor_size))
        mark_sliced(self.weight, 1, in_features, mesh.tensor_size)
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The whole output, from this rank's part of the input."""
        if self.group is None:
            return F.linear(x, self.weight, self.bias)
        total = reduce_from_tensor_axis(F.linear(x, self.weight), self.group)
        return total if self.bias is None else total + self.bias
