"""Linear layers whose weight is split over the tensor-parallel group (Shoeybi et al. 2019, arXiv:1909.08053)."""

from torch import Tensor, nn
from torch.nn import functional as F

from megalite.parallel.collectives import enter_split_layers, leave_split_layers
from megalite.parallel.gradient_groups import with_summed_gradient
from megalite.parallel.mesh import Mesh
from megalite.parallel.parameter import sliced_parameter, whole_parameter


class ColumnParallelLinear(nn.Module):
    """``y = x @ W.T + b`` with the output features of ``W`` split over the tensor-parallel group.

    Rank ``r`` of ``t`` holds rows ``[r*F/t, (r+1)*F/t)`` of the full ``(F, H)`` weight, and of the bias. No communication
    forward; one all-reduce of the input gradient backward (figure 3 of the paper: f, then the layer).

    Args:
        out_features: F over the whole group, not per rank.
        mesh: with ``Mesh.single()`` (one process) the layer is a plain linear.
        input_entered: the caller applies ``enter_split_layers`` to the input, once for several layers.
        copies: neighbouring ranks that hold the same F/(t/copies) rows, each using them for a part of the work.
        pad: pad F to a multiple of t; rows past F are zero. Only for a head, whose loss masks them out.

    Shape: ``(B, S, H)`` equal on every rank (with sequence parallelism ``(B, S/t, H)``) -> ``(B, S, F/t)``.
    Raises: ValueError if F does not divide and ``pad`` is off.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        mesh: Mesh,
        bias: bool = False,
        input_entered: bool = False,
        copies: int = 1,
        pad: bool = False,
    ) -> None:
        super().__init__()
        if out_features % (mesh.tensor_size // copies) and not pad:
            raise ValueError(f"out_features={out_features} does not divide by tensor_parallel_size={mesh.tensor_size}")
        self.mesh, self.input_entered = mesh, input_entered
        self.weight = sliced_parameter((out_features, in_features), 0, mesh, copies)
        self.bias = sliced_parameter((out_features,), 0, mesh, copies) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.input_entered else enter_split_layers(x, self.mesh)
        bias = None if self.bias is None else with_summed_gradient(self.bias)
        return F.linear(x, with_summed_gradient(self.weight), bias)


class RowParallelLinear(nn.Module):
    """``y = x @ W.T + b`` with the input features of ``W`` split over the tensor-parallel group.

    Rank ``r`` of ``t`` holds columns ``[r*F/t, (r+1)*F/t)`` of the full ``(H, F)`` weight. One all-reduce of the partial
    outputs forward, none backward (figure 3 of the paper: the layer, then g). The bias is whole on every rank and
    added once, after the sum.

    Args:
        in_features: F over the whole group, not per rank.

    Shape: ``(B, S, F/t)`` -> ``(B, S, H)`` equal on every rank (with sequence parallelism ``(B, S/t, H)``).
    Raises: ValueError if F does not divide by t.
    """

    def __init__(self, in_features: int, out_features: int, mesh: Mesh, bias: bool = False) -> None:
        super().__init__()
        if in_features % mesh.tensor_size:
            raise ValueError(f"in_features={in_features} does not divide by tensor_parallel_size={mesh.tensor_size}")
        self.mesh = mesh
        self.weight = sliced_parameter((out_features, in_features), 1, mesh)
        self.bias = whole_parameter(out_features, mesh) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        total = leave_split_layers(F.linear(x, self.weight), self.mesh)
        return total if self.bias is None else total + with_summed_gradient(self.bias)
