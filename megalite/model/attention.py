"""Causal self-attention with grouped queries (Ainslie et al. 2023, arXiv:2305.13245)."""

import math

from torch import Tensor, nn

from megalite.config.model import ModelConfig
from megalite.model.documents import Documents
from megalite.model.layer_execution import LayerExecution
from megalite.model.rope import RopeTables, rotate
from megalite.parallel.collectives import enter_split_layers, exchange
from megalite.parallel.linear import ColumnParallelLinear, RowParallelLinear
from megalite.parallel.mesh import Mesh

HEAD_DIM, TOKEN_DIM = 1, 2
"""Dims of queries, keys and values ``(B, heads, S, D)``."""


class Attention(nn.Module):
    """N query heads share K key/value heads; the heads are split over the tensor-parallel group.

    If there are fewer key/value heads than ranks, t/K neighbouring ranks hold the same head. On a context axis each rank
    holds S/c tokens. An all-to-all before and after the attention product trades heads for tokens, so that a rank
    computes N/(t*c) heads over the whole sequence (DeepSpeed-Ulysses, Jacobs et al. 2023, arXiv:2309.14509, figure 2).

    Shape: ``(B, S/c, H)`` equal on every tensor-parallel rank (with sequence parallelism a slice) -> the same.
    """

    def __init__(self, config: ModelConfig, mesh: Mesh, rope: RopeTables, execution: LayerExecution) -> None:
        super().__init__()
        hidden, head_dim, bias = config.hidden_size, config.head_size, config.attention_bias
        self.head_dim, self.mesh, self.rope, self.product = head_dim, mesh, rope, execution.attention_product()
        query_features, kv_features = config.num_attention_heads * head_dim, config.key_value_heads * head_dim
        copies = max(1, mesh.tensor_size // config.key_value_heads)
        self.q_proj = ColumnParallelLinear(hidden, query_features, mesh, bias, input_entered=True)
        self.k_proj = ColumnParallelLinear(hidden, kv_features, mesh, bias, input_entered=True, copies=copies)
        self.v_proj = ColumnParallelLinear(hidden, kv_features, mesh, bias, input_entered=True, copies=copies)
        self.o_proj = RowParallelLinear(query_features, hidden, mesh, bias)

    def forward(self, x: Tensor, documents: Documents | None = None) -> Tensor:
        """Attend to this and earlier positions, of the same document if ``documents`` is given."""
        x = enter_split_layers(x, self.mesh)  # f in Megatron's figure 3, once for q, k and v; g is in o_proj
        batch, length, _ = x.shape

        def heads(flat: Tensor) -> Tensor:  # (B, S/c, heads*D) -> (B, heads, S/c, D), this rank's heads
            return flat.view(batch, length, -1, self.head_dim).transpose(HEAD_DIM, TOKEN_DIM)

        cosine, sine = self._rotations(x, documents)
        queries = rotate(heads(self.q_proj(x)), cosine, sine)
        keys = rotate(heads(self.k_proj(x)), cosine, sine)
        mixed = self._over_whole_sequence(queries, keys, heads(self.v_proj(x)), documents)
        return self.o_proj(mixed.transpose(HEAD_DIM, TOKEN_DIM).reshape(batch, length, -1))

    def _rotations(self, x: Tensor, documents: Documents | None) -> tuple[Tensor, Tensor]:
        """Cosine and sine at this rank's positions: ``(S/c, D)``, or ``(B, 1, S/c, D)`` with documents."""
        length = x.shape[1]
        mine = slice(self.mesh.context_rank * length, (self.mesh.context_rank + 1) * length)
        cosine, sine = self.rope.up_to(length * self.mesh.context_size, x.dtype, x.device)
        if documents is None:
            return cosine[mine], sine[mine]
        positions = documents.positions[:, mine]
        return cosine[positions].unsqueeze(HEAD_DIM), sine[positions].unsqueeze(HEAD_DIM)

    def _over_whole_sequence(self, q: Tensor, k: Tensor, v: Tensor, documents: Documents | None) -> Tensor:
        c, group = self.mesh.context_size, self.mesh.context_group
        if c == 1:
            return self.product(q, k, v, documents)
        copies = c // math.gcd(c, k.shape[HEAD_DIM])  # of key/value heads, so that every rank gets at least one
        k, v = (x.repeat_interleave(copies, dim=HEAD_DIM) for x in (k, v))
        q, k, v = (exchange(x, group, split_dim=HEAD_DIM, gather_dim=TOKEN_DIM) for x in (q, k, v))
        return exchange(self.product(q, k, v, documents), group, split_dim=TOKEN_DIM, gather_dim=HEAD_DIM)
