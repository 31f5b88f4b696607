"""Root-mean-square norm (Zhang & Sennrich 2019, arXiv:1910.07467)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """``x / rms(x) * weight`` over the last dim; whole on every rank."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        """``eps`` is added to the mean square."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
