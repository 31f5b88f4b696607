"""Gather full tensors from the slices of all ranks to the rank that writes them."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from megalite.parallel.slicing import join_slices
from megalite.training.checkpoint.state_access import read_tensor
from megalite.training.engine import Engine
from megalite.training.optimizers.definition import StateTensor


class TensorRoutes:
    """Knows which pipeline stage holds each parameter. A tied embedding comes from the first stage that holds it."""

    def __init__(self, engine: Engine) -> None:
        """Collective."""
        self._engine, self._mesh = engine, engine.mesh
        self._parameters = dict(engine.named_parameters)
        self._rank = dist.get_rank()
        names: list[list[str]] = [list(self._parameters)]
        if self._mesh.pipe_size > 1:
            names = [[] for _ in range(self._mesh.pipe_size)]
            dist.all_gather_object(names, list(self._parameters), group=self._mesh.pipe_group)
        self._pipeline_stage = {name: stage for stage in reversed(range(len(names))) for name in names[stage]}

    def bring(self, name: str, tensor: StateTensor, shape: Sequence[int], owner: int) -> Tensor | None:
        """A parameter's full fp32 ``tensor`` on rank ``owner``, None on the others.

        Collective over the pipeline stage that holds the parameter.

        Args:
            shape: of the full tensor.
        """
        pipeline_stage = self._pipeline_stage[name]
        ranks_in_stage = self._mesh.replicas * self._mesh.tensor_size
        source = (
            pipeline_stage * ranks_in_stage + owner % ranks_in_stage
        )  # the rank of that stage in the owner's pipeline
        full = self._gathered(name, tensor) if pipeline_stage == self._mesh.pipe_rank else None
        if source == owner:
            return full if self._rank == owner else None
        if self._rank == source and full is not None:
            dist.send(full.contiguous(), owner)
        if self._rank == owner:
            received = torch.empty(shape, device=self._engine.device)
            dist.recv(received, source)
            return received
        return None

    def _gathered(self, name: str, tensor: StateTensor) -> Tensor:
        parameter = self._parameters[name]
        part = read_tensor(self._engine.deepspeed, parameter, tensor)
        return join_slices(part, tensor.slicing(parameter))
