"""Which slice of a full tensor a rank holds: cut it out, and join the slices again."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from megalite.parallel.mesh import Group, Mesh


@dataclass(frozen=True)
class Slicing:
    """This rank's slice of one dim that is padded and then cut into equal slices over the tensor-parallel group."""

    dim: int
    full_size: int
    """Length of the dim in the full tensor, without padding."""
    slice_size: int
    """Length on each rank; rows past ``full_size`` at the end are padding."""
    index: int
    """Number of this rank's slice."""
    copies: int
    """Neighbouring ranks that hold the same slice; t / copies slices make the full tensor."""
    group: Group | None

    @classmethod
    def of(cls, full_size: int, dim: int, mesh: Mesh, copies: int = 1) -> Self:
        """The slice of this rank of the mesh."""
        slice_size = padded_slice_size(full_size, mesh.tensor_size // copies)
        return cls(dim, full_size, slice_size, mesh.tensor_rank // copies, copies, mesh.split_group)


def padded_slice_size(size: int, parts: int) -> int:
    """Length of each slice when ``size`` is padded up to a multiple of ``parts``."""
    return -(-size // parts)


def slicing_of(parameter: nn.Parameter) -> Slicing | None:
    """How the parameter is cut; None if every tensor-parallel rank holds it whole."""
    return getattr(parameter, "slicing", None)


def full_shape(parameter: nn.Parameter) -> torch.Size:
    """Shape of the full tensor, also if ZeRO-3 partitions the parameter."""
    shape = list(getattr(parameter, "ds_shape", parameter.shape))
    slicing = slicing_of(parameter)
    if slicing is not None:
        shape[slicing.dim] = slicing.full_size
    return torch.Size(shape)


def cut_slice(full: Tensor, slicing: Slicing | None) -> Tensor:
    """This rank's slice of a full tensor, padded with zeros past its end; None leaves it whole."""
    if slicing is None:
        return full
    start = slicing.index * slicing.slice_size
    held = max(0, min(slicing.slice_size, slicing.full_size - start))
    part = full.narrow(slicing.dim, min(start, slicing.full_size), held)
    if held == slicing.slice_size:
        return part
    shape = list(full.shape)
    shape[slicing.dim] = slicing.slice_size - held
    return torch.cat([part, full.new_zeros(shape)], dim=slicing.dim)


def join_slices(part: Tensor, slicing: Slicing | None) -> Tensor:
    """The full tensor from the slices of all ranks, without padding. Collective over the tensor-parallel group."""
    if slicing is None or slicing.group is None:
        return part
    parts = [
        torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(slicing.group))
    ]
    dist.all_gather(parts, part.contiguous(), group=slicing.group)
    return torch.cat(parts[:: slicing.copies], dim=slicing.dim).narrow(slicing.dim, 0, slicing.full_size)
