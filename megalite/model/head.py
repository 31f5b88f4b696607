"""The last layer of the list: it gives the loss if it gets labels, else the logits."""

from torch import Tensor

from megalite.config.model import ModelConfig
from megalite.model.hf_names import EMBEDDING_PREFIX
from megalite.parallel.cross_entropy import cross_entropy_sum
from megalite.parallel.linear import ColumnParallelLinear
from megalite.parallel.mesh import Mesh


class Head(ColumnParallelLinear):
    """Projects hidden states onto the vocabulary, split over the tensor-parallel group and padded to a multiple of t.

    Every engine takes its loss from here, so only this file knows whether the logits ever exist as a whole.

    Shape: ``(B, S, H)`` (with sequence parallelism ``(B, S/t, H)``) -> logits ``(B, S, V/t)``; with labels ``(B, S)`` ->
    a scalar in fp32, equal on every tensor-parallel rank.
    """

    def __init__(self, config: ModelConfig, mesh: Mesh) -> None:
        super().__init__(config.hidden_size, config.vocab_size, mesh, pad=True)
        self.vocab_size = config.vocab_size
        self.hf_prefix = EMBEDDING_PREFIX if config.tie_word_embeddings else "lm_head."

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits, or the negative log-likelihood in nats summed over the labels that are not -100."""
        logits = super().forward(x)
        return logits if labels is None else cross_entropy_sum(logits, labels, self.vocab_size, self.mesh)
