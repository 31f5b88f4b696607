"""Cross-entropy of logits that are split over the tensor-parallel group along the vocabulary, without gathering them."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from megalite.config.labels import IGNORE
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import padded_slice_size


def cross_entropy_sum(logits: Tensor, labels: Tensor, vocab_size: int, mesh: Mesh) -> Tensor:
    """Negative log-likelihood in nats, summed over the labels that are not -100; computed in fp32.

    Shape: logits ``(B, S, V/t)``, V padded to a multiple of t; labels ``(B, S)`` -> scalar, equal on every rank.

    Args:
        vocab_size: V without padding; padded columns are left out of the softmax and get no gradient.
    """
    if mesh.split_group is None:
        return F.cross_entropy(logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORE, reduction="sum")
    first = mesh.tensor_rank * padded_slice_size(vocab_size, mesh.tensor_size)
    return _SplitCrossEntropy.apply(logits.flatten(0, -2), labels.flatten(), first, vocab_size, mesh.split_group)


class _SplitCrossEntropy(torch.autograd.Function):
    """Three all-reduces of one number per token: maximum, logit of the label, sum of exponentials.

    Shoeybi et al. 2019, arXiv:1909.08053, section 3 (fusing the output with the loss).
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, first: int, vocab_size: int, group: dist.ProcessGroup
    ) -> Tensor:
        shifted = logits.to(torch.float32, copy=True)  # (B*S, V/t); the only buffer, modified in place below
        columns = shifted.shape[-1]
        shifted[:, max(0, vocab_size - first) :] = float("-inf")  # padding, if this rank has any
        maximum = shifted.amax(dim=-1)
        dist.all_reduce(maximum, op=dist.ReduceOp.MAX, group=group)
        shifted -= maximum.unsqueeze(-1)
        counted = labels != IGNORE
        local = labels - first
        held = counted & (local >= 0) & (local < columns)
        local = local.masked_fill(~held, 0)
        label_logit = shifted.gather(-1, local.unsqueeze(-1)).squeeze(-1).masked_fill(~held, 0.0)
        dist.all_reduce(label_logit, group=group)
        exponentials = shifted.exp_()
        total = exponentials.sum(dim=-1)
        dist.all_reduce(total, group=group)
        probabilities = exponentials.div_(total.unsqueeze(-1))
        ctx.save_for_backward(probabilities, local, held, counted)
        ctx.dtype = logits.dtype
        return (total.log() - label_logit).masked_fill(~counted, 0.0).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        probabilities, local, held, counted = ctx.saved_tensors
        # d loss / d logit = probability - 1 at the label, for counted tokens. The saved buffer is modified in place.
        probabilities.scatter_add_(-1, local.unsqueeze(-1), -held.to(probabilities.dtype).unsqueeze(-1))
        probabilities.mul_((counted * grads[0]).unsqueeze(-1))
        return probabilities.to(ctx.dtype), None, None, None, None
