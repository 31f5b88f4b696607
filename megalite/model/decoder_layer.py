"""One decoder layer: attention and SwiGLU, each behind a norm and beside a residual."""

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from megalite.config.grid import check_tensor_split
from megalite.config.model import ModelConfig
from megalite.model.attention import Attention
from megalite.model.mlp import SwiGLU
from megalite.model.norm import RMSNorm
from megalite.model.rope import RopeTables
from megalite.parallel.mesh import Mesh


class DecoderLayer(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; parameter names as in transformers' LlamaDecoderLayer.

    Shape: ``(B, S, H)`` -> ``(B, S, H)``, equal on every tensor-parallel rank.
    """

    def __init__(
        self, config: ModelConfig, mesh: Mesh, index: int, rope: RopeTables, checkpoint_activations: bool = False
    ) -> None:
        """``index`` counts decoder layers from 0; with ``checkpoint_activations`` the layer is recomputed backward.

        Raises: ConfigError where heads or intermediate features do not divide by t.
        """
        super().__init__()
        check_tensor_split(config, mesh.tensor_size)
        self.hf_prefix = f"model.layers.{index}."
        self.checkpoint_activations = checkpoint_activations
        self.rope = rope
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, mesh)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config, mesh)

    def forward(self, x: Tensor) -> Tensor:
        """Positions are 0..S-1."""
        if self.checkpoint_activations and self.training:
            # Non-reentrant: the reentrant kind breaks in DeepSpeed's pipeline engine.
            return checkpoint(self._compute, x, use_reentrant=False)
        return self._compute(x)

    def _compute(self, x: Tensor) -> Tensor:
        cosine, sine = self.rope.up_to(x.shape[1], x.dtype, x.device)
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine)
        return x + self.mlp(self.post_attention_layernorm(x))
