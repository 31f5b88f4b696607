"""Full tensors on their way from the slices of all ranks to the one rank that writes them."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from megalite.parallel.slicing import gather_full
from megalite.training.checkpoint.manifest import MOMENTS
from megalite.training.checkpoint.state_access import get_master_weight, get_moment
from megalite.training.engine import Engine


class TensorRoutes:
    """Knows which pipeline stage holds which parameter; a tied table is taken from the first stage that has it."""

    def __init__(self, engine: Engine, shapes: Mapping[str, torch.Size]) -> None:
        """``shapes`` of all parameters of the model, full. Collective."""
        self._engine, self._mesh, self._shapes = engine, engine.mesh, shapes
        self._parameters = dict(engine.named_parameters)
        self._rank = dist.get_rank()
        names: list[list[str]] = [list(self._parameters)]
        if self._mesh.pipe_size > 1:
            names = [[] for _ in range(self._mesh.pipe_size)]
            dist.all_gather_object(names, list(self._parameters), group=self._mesh.pipe_group)
        self._stage = {name: stage for stage in reversed(range(len(names))) for name in names[stage]}

    def bring(self, name: str, stem: str, owner: int) -> Tensor | None:
        """The full fp32 tensor on rank ``owner``, None on the others. Collective over the stage that holds it.

        Args:
            stem: ``exp_avg`` or ``exp_avg_sq``; anything else is the master weight.
        """
        stage = self._stage[name]
        ranks_in_stage = self._mesh.replicas * self._mesh.tensor_size
        source = stage * ranks_in_stage + owner % ranks_in_stage  # the rank of that stage in the owner's pipeline
        full = self._gathered(name, stem) if stage == self._mesh.pipe_rank else None
        if source == owner:
            return full if self._rank == owner else None
        if self._rank == source and full is not None:
            dist.send(full.contiguous(), owner)
        if self._rank == owner:
            received = torch.empty(self._shapes[name], device=self._engine.device)
            dist.recv(received, source)
            return received
        return None

    def _gathered(self, name: str, stem: str) -> Tensor:
        parameter, engine = self._parameters[name], self._engine
        part = get_moment(engine.deepspeed, parameter, stem) if stem in MOMENTS else get_master_weight(parameter)
        return gather_full(part, parameter, self._mesh)
