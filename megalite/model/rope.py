"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864), with the scaling of Llama 3.1."""

import math

import torch
from torch import Tensor

from megalite.config.model import RopeParameters


def inverse_frequencies(rope: RopeParameters, head_dim: int) -> Tensor:
    """Angle per position of each of the D/2 rotated pairs, in fp32.

    ``linear`` divides positions by ``factor`` (Chen et al. 2023, arXiv:2306.15595). ``llama3`` keeps frequencies with
    wavelengths below ``original / high_freq_factor``, divides those with wavelengths above ``original / low_freq_factor``
    by ``factor``, and interpolates between the two (as published with Llama 3.1, arXiv:2407.21783).
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequencies = 1.0 / rope.rope_theta**exponents
    if rope.rope_type == "default":
        return frequencies
    assert rope.factor is not None
    if rope.rope_type == "linear":
        return frequencies / rope.factor
    original, low, high = rope.original_max_position_embeddings, rope.low_freq_factor, rope.high_freq_factor
    assert original is not None and low is not None and high is not None
    wavelengths = 2 * math.pi / frequencies
    smooth = ((original / wavelengths - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - smooth) * frequencies / rope.factor + smooth * frequencies


class RopeTables:
    """Cosine and sine tables, computed once in fp32 and shared by all layers of a model.

    Not a module, because buffers would lose precision when the model is cast to bf16 or built under ``zero.Init``.
    """

    def __init__(self, rope: RopeParameters, head_dim: int) -> None:
        """The tables are computed in the first forward pass, when dtype and device are known."""
        self._rope, self._head_dim = rope, head_dim
        self._cosine = self._sine = torch.empty(0, head_dim)

    def up_to(self, length: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine of positions ``0..length-1``, each ``(S, D)``; the two halves of D are equal."""
        made = self._cosine
        if made.shape[0] < length or made.dtype != dtype or made.device != device:
            with torch.inference_mode(False):  # so that a later backward pass can use tables made in generation
                frequencies = inverse_frequencies(self._rope, self._head_dim).to(device)
                angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequencies)
                angles = torch.cat([angles, angles], dim=-1)
                self._cosine, self._sine = angles.cos().to(dtype), angles.sin().to(dtype)
        return self._cosine[:length], self._sine[:length]


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the pairs ``(i, i + D/2)`` of each head in ``x`` of shape ``(B, heads, S, D)``."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine
