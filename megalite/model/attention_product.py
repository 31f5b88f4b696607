"""``softmax(q @ k.T / sqrt(D)) @ v``: the choice of the attention kernel."""

import torch
from torch import Tensor
from torch.nn import functional as F

from megalite.model.documents import Documents

Flat = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values of all tokens: ``(B*S, heads, D)`` each."""


def attention_product(query: Tensor, key: Tensor, value: Tensor, documents: Documents | None) -> Tensor:
    """Causal attention: every token to itself and to earlier tokens, of the same document if ``documents`` is given.

    PyTorch's ``scaled_dot_product_attention`` picks a flash or memory-efficient kernel if the device has one, so that the
    S x S scores are never stored (Dao et al. 2022, arXiv:2205.14135).

    Shape: query ``(B, N, S, D)``, key and value ``(B, K, S, D)`` -> ``(B, N, S, D)``.
    """
    if documents is not None:
        return _document_attention(query, key, value, documents)
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)


def _document_attention(query: Tensor, key: Tensor, value: Tensor, documents: Documents) -> Tensor:
    """Exactly what each document would give alone, without an S x S mask.

    Flash attention of variable length takes all documents at once; without that kernel they are computed one by one.
    """
    batch, heads, length, _ = query.shape
    flat = (query.transpose(1, 2).flatten(0, 1), key.transpose(1, 2).flatten(0, 1), value.transpose(1, 2).flatten(0, 1))
    has_kernel = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
    mixed = _varlen(flat, documents.lengths) if has_kernel else _one_by_one(flat, documents.lengths)
    return mixed.view(batch, length, heads, -1).transpose(1, 2)


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

    mixed = []
    for query, key, value in zip(*(x.split(lengths) for x in flat), strict=True):
        piece = attention_product(heads_first(query), heads_first(key), heads_first(value), None)
        mixed.append(piece.squeeze(0).transpose(0, 1))
    return torch.cat(mixed)
