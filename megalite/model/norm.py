"""Root-mean-square norm (Zhang & Sennrich 2019, arXiv:1910.07467)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megalite.parallel.collectives import with_summed_gradient
from megalite.parallel.mesh import Mesh


class RMSNorm(nn.Module):
    """``x / rms(x) * weight`` over the last dim; the weight is whole on every rank.

    Under sequence parallelism each tensor-parallel rank norms its own tokens, so the weight's gradient is summed over them.
    """

    def __init__(self, hidden_size: int, eps: float, mesh: Mesh) -> None:
        """``eps`` is added to the mean square."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden_size))
        self.eps = eps
        self.sequence_group = mesh.sequence_group

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return F.rms_norm(x, (x.shape[-1],), with_summed_gradient(self.weight, self.sequence_group), self.eps)
