"""The gated feed-forward block (Shazeer 2020, arXiv:2002.05202: SwiGLU)."""

from torch import Tensor, nn
from torch.nn import functional as F

from megalite.config.model import ModelConfig
from megalite.parallel.collectives import enter_split_layers
from megalite.parallel.linear import ColumnParallelLinear, RowParallelLinear
from megalite.parallel.mesh import Mesh


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))``, with the F intermediate features split over the tensor-parallel group.

    Shape: ``(B, S, H)`` -> ``(B, S, H)``; inside ``(B, S, F/t)``.
    """

    def __init__(self, config: ModelConfig, mesh: Mesh) -> None:
        super().__init__()
        hidden, intermediate, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.mesh = mesh
        self.gate_proj = ColumnParallelLinear(hidden, intermediate, mesh, bias, input_entered=True)
        self.up_proj = ColumnParallelLinear(hidden, intermediate, mesh, bias, input_entered=True)
        self.down_proj = RowParallelLinear(intermediate, hidden, mesh, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = enter_split_layers(x, self.mesh)  # f in Megatron's figure 3, once for gate and up; g is in down_proj
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
