"""One decoder layer: attention and SwiGLU, each behind a norm and beside a residual."""

from typing import Literal

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from megalite.config.model import ModelConfig
from megalite.model.attention import Attention
from megalite.model.documents import Documents
from megalite.model.mlp import SwiGLU
from megalite.model.norm import RMSNorm
from megalite.model.rope import RopeTables
from megalite.parallel.mesh import Mesh

Recompute = Literal["none", "selective", "full"]
"""What the backward pass computes again: nothing, the attention product, the whole layer."""


class DecoderLayer(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; parameter names as in transformers' LlamaDecoderLayer.

    Shape: ``(B, S, H)`` -> ``(B, S, H)``; S is this rank's share of the sequence on a context axis and under sequence
    parallelism.
    """

    def __init__(
        self, config: ModelConfig, mesh: Mesh, index: int, rope: RopeTables, recompute: Recompute = "none"
    ) -> None:
        """``index`` counts decoder layers from 0."""
        super().__init__()
        self.hf_prefix = f"model.layers.{index}."
        self.recompute_all = recompute == "full"
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, mesh)
        self.self_attn = Attention(config, mesh, rope, recompute_product=recompute == "selective")
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, mesh)
        self.mlp = SwiGLU(config, mesh)

    def forward(self, x: Tensor, documents: Documents | None = None) -> Tensor:
        """Positions are 0..S-1, or what ``documents`` says."""
        if self.recompute_all and self.training:
            # Non-reentrant: the reentrant kind breaks in DeepSpeed's pipeline engine.
            return checkpoint(self._compute, x, documents, use_reentrant=False)
        return self._compute(x, documents)

    def _compute(self, x: Tensor, documents: Documents | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), documents)
        return x + self.mlp(self.post_attention_layernorm(x))
