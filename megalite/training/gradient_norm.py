"""Global gradient norm and clipping at ZeRO stage 0, for which DeepSpeed keeps no norm."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from megalite.parallel.gradient_groups import counts_in_norm, gradient_groups
from megalite.parallel.mesh import Mesh


class GradientClipping:
    """Scales all gradients so that their global norm is at most ``max_norm`` (Pascanu et al. 2013, arXiv:1211.5063).

    Called just before the optimizer's step, when gradients are averaged over the replicas. ``gradient_groups`` says which
    rank counts a gradient, and over which ranks the squares are summed.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], mesh: Mesh, max_norm: float) -> None:
        """``max_norm=0`` measures without clipping."""
        self._parameters, self._mesh, self._max_norm = parameters, mesh, max_norm
        self.norm = torch.zeros(())
        """Norm of the last step before clipping."""

    def __call__(self, *_: Any) -> None:
        """Measure and clip. Collective; the signature is that of an optimizer's step hook."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        zero = torch.zeros((), device=gradients[0].device)
        squares = {gradient_groups(p).norm: zero.clone() for p in self._parameters}  # the same groups on every rank
        for p in self._parameters:
            if p.grad is not None and counts_in_norm(p):
                # Summed pairwise; PyTorch's own norm of a million numbers is off by 3e-4 on a CPU.
                squares[gradient_groups(p).norm] += p.grad.float().square().sum()
        for group, square in squares.items():
            if group is not None:
                dist.all_reduce(square, group=group)
        square = torch.stack(list(squares.values())).sum()
        if self._mesh.pipe_size > 1:
            dist.all_reduce(square, group=self._mesh.pipe_group)
        self.norm = square.sqrt()
        if self._max_norm > 0:
            self._scale(gradients)

    def _scale(self, gradients: list[Tensor]) -> None:
        torch._foreach_mul_(gradients, (self._max_norm / (self.norm + 1e-6)).clamp(max=1.0))
