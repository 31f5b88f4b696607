"""Over which ranks the gradient of a parameter is summed.

The full gradient is the sum over all ranks that hold the same values and see other tokens or do another part of the work.
A layer declares the groups where it makes the parameter (``megalite.parallel.parameter``). The layer's backward pass, the
engine and the gradient norm read them. An expert would declare another ``data_parallel`` group, and a ``norm`` group that
includes the ranks with the other experts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from megalite.parallel.collectives import copy_to_tensor_axis
from megalite.parallel.mesh import Group, Mesh


@dataclass(frozen=True)
class GradientGroups:
    """The groups of one parameter on this rank; None is this rank alone."""

    backward: Group | None
    """Tensor-parallel ranks with the same values that each compute a part of the gradient: the layer sums over them in its
    backward pass."""
    data_parallel: Group | None
    """Ranks with the same values that read other tokens: DeepSpeed averages over them once per step."""
    norm: Group | None
    """Ranks whose counted gradients together are the full gradient."""
    counts_in_norm: bool
    """False if another rank of the norm group counts the same values."""

    @classmethod
    def of_whole(cls, mesh: Mesh) -> Self:
        """For a parameter that is whole on every tensor-parallel rank.

        With sequence parallelism each of these ranks sees its own tokens only; else each computes the full gradient.
        """
        return cls(mesh.sequence_group, mesh.data_parallel_group, mesh.split_group, mesh.tensor_rank == 0)

    @classmethod
    def of_slice(cls, mesh: Mesh, copies: int) -> Self:
        """For a slice that ``copies`` neighbouring tensor-parallel ranks hold, each using it for a part of the work."""
        first = mesh.tensor_rank % copies == 0
        return cls(mesh.tensor_subgroup(copies), mesh.data_parallel_group, mesh.split_group, first)


def gradient_groups(parameter: nn.Parameter) -> GradientGroups:
    """The groups that the layer has declared."""
    groups: GradientGroups = parameter.gradient_groups  # type: ignore[attr-defined]
    return groups


def with_summed_gradient(parameter: nn.Parameter) -> Tensor:
    """The parameter as a layer uses it, so that its gradient is summed over the ``backward`` group."""
    return copy_to_tensor_axis(parameter, gradient_groups(parameter).backward)


def check_data_parallel_group(parameters: Iterable[nn.Parameter], mesh: Mesh) -> None:
    """DeepSpeed averages every gradient over the group of its ``mpu``; a parameter with another group needs its own way."""
    assert all(gradient_groups(parameter).data_parallel is mesh.data_parallel_group for parameter in parameters)


def counts_in_norm(parameter: nn.Parameter) -> bool:
    """Whether this rank counts the gradient; of a table tied over pipeline stages the first stage does."""
    return gradient_groups(parameter).counts_in_norm and not getattr(parameter, "ds_pipe_replicated", False)
