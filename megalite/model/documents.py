"""Several documents in one sample: which tokens belong together, and attention that stays inside a document."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Documents:
    """The documents of a micro-batch, as its positions tell them: one begins wherever a position is 0."""

    positions: Tensor
    """``(B, S)`` int64; 0 at the start of every row and of every document."""
    lengths: list[int]
    """Tokens of each document, row after row."""

    @classmethod
    def of(cls, positions: Tensor) -> Self:
        """Find the documents. On an accelerator this waits for the positions to be computed."""
        starts = (positions.flatten() == 0).nonzero().flatten().tolist()
        ends = [*starts[1:], positions.numel()]
        return cls(positions, [end - start for start, end in zip(starts, ends, strict=True)])


def document_attention(query: Tensor, key: Tensor, value: Tensor, documents: Documents) -> Tensor:
    """Causal attention of every document to itself; exactly what each would give alone.

    Shape: query ``(B, N, S, D)``, key and value ``(B, K, S, D)`` -> ``(B, N, S, D)``. No S x S mask is ever stored: where
    flash attention of variable length is there it takes all documents at once, elsewhere they go one by one.
    """
    batch, heads, length, _ = query.shape
    flat = [x.transpose(1, 2).flatten(0, 1) for x in (query, key, value)]  # (B*S, heads, D)
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        mixed = _varlen(*flat, documents.lengths)
    else:
        mixed = _one_by_one(*flat, documents.lengths)
    return mixed.view(batch, length, heads, -1).transpose(1, 2)


def _varlen(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    bounds = torch.tensor([0, *lengths], device=query.device).cumsum(0).to(torch.int32)
    longest, grouped = max(lengths), query.shape[1] != key.shape[1]
    causal = (-1, 0)
    return varlen_attn(query, key, value, bounds, bounds, longest, longest, window_size=causal, enable_gqa=grouped)  # type: ignore[return-value]


def _one_by_one(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    def heads_first(x: Tensor) -> Tensor:  # (length, heads, D) -> (1, heads, length, D)
        return x.transpose(0, 1).unsqueeze(0)

    grouped = query.shape[1] != key.shape[1]
    pieces = zip(query.split(lengths), key.split(lengths), value.split(lengths), strict=True)
    mixed = [
        F.scaled_dot_product_attention(*map(heads_first, piece), is_causal=True, enable_gqa=grouped) for piece in pieces
    ]
    return torch.cat([piece.squeeze(0).transpose(0, 1) for piece in mixed])
