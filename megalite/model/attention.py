"""Causal self-attention with grouped queries (Ainslie et al. 2023, arXiv:2305.13245)."""

from torch import Tensor, nn
from torch.nn import functional as F

from megalite.config.model import ModelConfig
from megalite.model.rope import rotate
from megalite.parallel.collectives import copy_to_tensor_axis
from megalite.parallel.linear import ColumnParallelLinear, RowParallelLinear
from megalite.parallel.mesh import Mesh


class Attention(nn.Module):
    """N query heads share K key/value heads; the heads are split over the tensor-parallel group.

    The product is PyTorch's ``scaled_dot_product_attention``, which picks a flash or memory-efficient kernel where the
    device has one, so that the S x S scores are never stored (Dao et al. 2022, arXiv:2205.14135).

    Shape: ``(B, S, H)`` equal on every tensor-parallel rank -> the same.
    """

    def __init__(self, config: ModelConfig, mesh: Mesh) -> None:
        """Split N and K over the tensor axis; ``megalite.config.grid`` has checked that they divide."""
        super().__init__()
        hidden, head_dim, bias = config.hidden_size, config.head_size, config.attention_bias
        self.head_dim = head_dim
        self.group = mesh.split_group
        query_features, kv_features = config.num_attention_heads * head_dim, config.key_value_heads * head_dim
        self.q_proj = ColumnParallelLinear(hidden, query_features, mesh, bias, input_copied=True)
        self.k_proj = ColumnParallelLinear(hidden, kv_features, mesh, bias, input_copied=True)
        self.v_proj = ColumnParallelLinear(hidden, kv_features, mesh, bias, input_copied=True)
        self.o_proj = RowParallelLinear(query_features, hidden, mesh, bias)
        self.grouped = config.key_value_heads != config.num_attention_heads

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Attend to this and earlier positions."""
        batch, length, _ = x.shape
        x = copy_to_tensor_axis(x, self.group)  # f of the paper's figure 3, once for q, k and v; g is in o_proj

        def heads(flat: Tensor) -> Tensor:  # (B, S, heads*D) -> (B, heads, S, D), this rank's heads
            return flat.view(batch, length, -1, self.head_dim).transpose(1, 2)

        queries = rotate(heads(self.q_proj(x)), cosine, sine)
        keys = rotate(heads(self.k_proj(x)), cosine, sine)
        values = heads(self.v_proj(x))
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=self.grouped)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))
