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
    flat = (query.transpose(1, 2).flatten(0, 1), key.transpose(1, 2).flatten(0, 1), value.transpose(1, 2).flatten(0, 1))
    has_kernel = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
    mixed = _varlen(flat, documents.lengths) if has_kernel else _one_by_one(flat, documents.lengths)
    return mixed.view(batch, length, heads, -1).transpose(1, 2)


Flat = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values of all tokens: ``(B*S, heads, D)`` each."""


def _varlen(flat: Flat, lengths: list[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = flat
    bounds = torch.tensor([0, *lengths], device=query.device).cumsum(0).to(torch.int32)
    longest, grouped = max(lengths), query.shape[1] != key.shape[1]
    causal = (-1, 0)
    mixed = varlen_attn(query, key, value, bounds, bounds, longest, longest, window_size=causal, enable_gqa=grouped)
    assert isinstance(mixed, Tensor)
    return mixed


def _one_by_one(flat: Flat, lengths: list[int]) -> Tensor:
    def heads_first(x: Tensor) -> Tensor:  # (length, heads, D) -> (1, heads, length, D)
        return x.transpose(0, 1).unsqueeze(0)

    grouped = flat[0].shape[1] != flat[1].shape[1]
    mixed = []
    for query, key, value in zip(*(x.split(lengths) for x in flat), strict=True):
        piece = F.scaled_dot_product_attention(
            heads_first(query), heads_first(key), heads_first(value), is_causal=True, enable_gqa=grouped
        )
        mixed.append(piece.squeeze(0).transpose(0, 1))
    return torch.cat(mixed)
