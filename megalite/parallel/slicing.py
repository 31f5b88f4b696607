"""Which part of a full tensor a rank holds: cutting it out, and putting the slices together again.

A split parameter carries two marks: ``tensor_model_parallel``, by which DeepSpeed and Megatron count it rightly in the
gradient norm, and ``slicing``, which says along which dim it is cut and how long that dim is in the full tensor. The
norm counts marked parameters on every tensor-parallel rank and the others on the first only; so of several replicas of a
slice just one is marked.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from megalite.parallel.mesh import Mesh


@dataclass(frozen=True)
class Slicing:
    """A cut of one dim into equal slices, after padding it to a multiple of their number."""

    dim: int
    full_size: int
    """Length of the dim in the full tensor, without padding."""
    slice_size: int
    """Length on each rank; rows past ``full_size`` at the end are padding."""
    replicas: int
    """Neighbouring ranks that hold the same slice; t / replicas slices make the full tensor."""


def padded_slice_size(size: int, parts: int) -> int:
    """Length of each slice when ``size`` is padded up to a multiple of ``parts``."""
    return -(-size // parts)


def mark_sliced(parameter: nn.Parameter, dim: int, full_size: int, mesh: Mesh, replicas: int = 1) -> None:
    """Record that ``parameter`` is this rank's slice along ``dim``, one of t / replicas. Does nothing at t = 1."""
    if mesh.tensor_size == 1:
        return
    slice_size = padded_slice_size(full_size, mesh.tensor_size // replicas)
    parameter.slicing = Slicing(dim, full_size, slice_size, replicas)  # type: ignore[attr-defined]
    parameter.tensor_model_parallel = mesh.tensor_rank % replicas == 0  # type: ignore[attr-defined]
    parameter.partition_dim = dim  # type: ignore[attr-defined]


def slicing_of(parameter: nn.Parameter) -> Slicing | None:
    """How the parameter is cut; None if every rank holds it whole."""
    return getattr(parameter, "slicing", None)


def full_shape(parameter: nn.Parameter) -> torch.Size:
    """Shape of the whole tensor that this parameter is, or is a slice of; right under ZeRO-3 too."""
    shape = list(getattr(parameter, "ds_shape", parameter.shape))
    slicing = slicing_of(parameter)
    if slicing is not None:
        shape[slicing.dim] = slicing.full_size
    return torch.Size(shape)


def take_slice(full: Tensor, parameter: nn.Parameter, mesh: Mesh) -> Tensor:
    """This rank's slice of a full tensor, padded with zeros where it reaches past the end.

    Raises: ValueError where ``full`` has another shape than the parameter's.
    """
    if full.shape != full_shape(parameter):
        raise ValueError(f"tensor of shape {tuple(full.shape)} for a parameter of shape {tuple(full_shape(parameter))}")
    return cut_slice(full, slicing_of(parameter), mesh)


def cut_slice(full: Tensor, slicing: Slicing | None, mesh: Mesh) -> Tensor:
    """This rank's slice of a tensor that is cut like this; None leaves it whole."""
    if slicing is None:
        return full
    start = mesh.tensor_rank // slicing.replicas * slicing.slice_size
    held = max(0, min(slicing.slice_size, slicing.full_size - start))
    part = full.narrow(slicing.dim, min(start, slicing.full_size), held)
    if held == slicing.slice_size:
        return part
    shape = list(full.shape)
    shape[slicing.dim] = slicing.slice_size - held
    return torch.cat([part, full.new_zeros(shape)], dim=slicing.dim)


def gather_full(part: Tensor, parameter: nn.Parameter, mesh: Mesh) -> Tensor:
    """The full tensor from the slices of all tensor-parallel ranks, padding removed. Collective over the tensor axis.

    Args:
        part: this rank's slice of a tensor laid out like ``parameter`` (the weight itself, a gradient).
    """
    return join_slices(part, slicing_of(parameter), mesh)


def join_slices(part: Tensor, slicing: Slicing | None, mesh: Mesh) -> Tensor:
    """The full tensor from slices that were cut like this. Collective over the tensor axis."""
    if slicing is None or mesh.tensor_group is None:
        return part
    parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(mesh.tensor_size)]
    dist.all_gather(parts, part.contiguous(), group=mesh.tensor_group)
    return torch.cat(parts[:: slicing.replicas], dim=slicing.dim).narrow(slicing.dim, 0, slicing.full_size)
