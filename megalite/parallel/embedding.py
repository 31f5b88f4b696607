"""The embedding table with its vocabulary split over the tensor-parallel group."""

from torch import Tensor, nn
from torch.nn import functional as F

from megalite.parallel.collectives import leave_split_layers
from megalite.parallel.mesh import Mesh
from megalite.parallel.parameter import sliced_parameter


class VocabParallelEmbedding(nn.Module):
    """``W[input_ids]`` with the V rows of ``W`` split over the tensor-parallel group, V padded to a multiple of t.

    A rank looks up the ids that it holds and returns zeros for the others; the partial results are summed (Shoeybi et al.
    2019, arXiv:1909.08053, section 3).

    Shape: ``(B, S)`` int64 -> ``(B, S, H)`` equal on every rank (with sequence parallelism ``(B, S/t, H)``).
    """

    def __init__(self, vocab_size: int, hidden_size: int, mesh: Mesh) -> None:
        super().__init__()
        self.mesh = mesh
        self.weight = sliced_parameter((vocab_size, hidden_size), 0, mesh)
        self.first_id = mesh.tensor_rank * self.weight.shape[0]

    def forward(self, input_ids: Tensor) -> Tensor:
        if self.mesh.tensor_size == 1:
            return F.embedding(input_ids, self.weight)
        local = input_ids - self.first_id
        elsewhere = (local < 0) | (local >= self.weight.shape[0])
        partial = F.embedding(local.masked_fill(elsewhere, 0), self.weight)
        return leave_split_layers(partial.masked_fill(elsewhere.unsqueeze(-1), 0.0), self.mesh)
