"""One decoder layer: attention and SwiGLU, each with a norm before it and a residual around it."""

from torch import Tensor, nn

from megalite.config.model import ModelConfig
from megalite.model.attention import Attention
from megalite.model.documents import Documents
from megalite.model.layer_execution import LayerExecution
from megalite.model.mlp import SwiGLU
from megalite.model.norm import RMSNorm
from megalite.model.rope import RopeTables
from megalite.parallel.mesh import Mesh


class DecoderLayer(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; parameter names as in transformers' LlamaDecoderLayer.

    Shape: ``(B, S, H)`` -> ``(B, S, H)``; with context or sequence parallelism S is this rank's part of the sequence.
    """

    def __init__(
        self, config: ModelConfig, mesh: Mesh, index: int, rope: RopeTables, execution: LayerExecution
    ) -> None:
        """``index`` counts decoder layers from 0."""
        super().__init__()
        self.hf_prefix = f"model.layers.{index}."
        self.run = execution.wrap_layer(self._compute)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, mesh)
        self.self_attn = Attention(config, mesh, rope, execution)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, mesh)
        self.mlp = SwiGLU(config, mesh)

    def forward(self, x: Tensor, documents: Documents | None = None) -> Tensor:
        """Positions are 0..S-1, or those of ``documents``."""
        return self.run(x, documents)

    def _compute(self, x: Tensor, documents: Documents | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), documents)
        return x + self.mlp(self.post_attention_layernorm(x))
