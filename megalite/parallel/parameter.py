"""Parameters that know how they are sliced and over which ranks their gradient is summed."""

from collections.abc import Sequence

import torch
from torch import nn

from megalite.parallel.gradient_groups import GradientGroups
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import Slicing


def whole_parameter(size: int, mesh: Mesh) -> nn.Parameter:
    """A vector that every tensor-parallel rank holds whole; ``megalite.model.init`` fills it."""
    parameter = nn.Parameter(torch.empty(size))
    parameter.gradient_groups = GradientGroups.of_whole(mesh)  # type: ignore[attr-defined]
    return parameter


def sliced_parameter(full_shape: Sequence[int], dim: int, mesh: Mesh, copies: int = 1) -> nn.Parameter:
    """This rank's slice along ``dim``, one of t / copies; ``megalite.model.init`` fills it."""
    slicing = Slicing.of(full_shape[dim], dim, mesh, copies)
    parameter = nn.Parameter(torch.empty([*full_shape[:dim], slicing.slice_size, *full_shape[dim + 1 :]]))
    groups = GradientGroups.of_slice(mesh, copies)
    parameter.gradient_groups = groups  # type: ignore[attr-defined]
    if mesh.split_group is not None:
        parameter.slicing = slicing  # type: ignore[attr-defined]
        # DeepSpeed's gradient norm counts marked parameters on every tensor-parallel rank, the others on the first only.
        parameter.tensor_model_parallel = groups.counts_in_norm  # type: ignore[attr-defined]
    return parameter
