"""Root-mean-square norm (Zhang & Sennrich 2019, arXiv:1910.07467)."""

from torch import Tensor, nn
from torch.nn import functional as F

from megalite.parallel.gradient_groups import with_summed_gradient
from megalite.parallel.mesh import Mesh
from megalite.parallel.parameter import whole_parameter


class RMSNorm(nn.Module):
    """``x / rms(x) * weight`` over the last dim; the weight is whole on every rank."""

    def __init__(self, hidden_size: int, eps: float, mesh: Mesh) -> None:
        super().__init__()
        self.weight = whole_parameter(hidden_size, mesh)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), with_summed_gradient(self.weight), self.eps)
