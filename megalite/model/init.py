"""Initial weights, drawn from seed and name: the same for every layout, ZeRO stage and precision."""

import contextlib
import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from megalite.config.model import ModelConfig
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.slicing import cut_slice, full_shape, slicing_of

RESIDUAL_OUTPUTS = ("o_proj.weight", "down_proj.weight")
Opener = Callable[[nn.Parameter], AbstractContextManager[object]]


def initial_tensor(config: ModelConfig, seed: int, name: str, shape: torch.Size) -> Tensor:
    """The full fp32 tensor of one parameter, a pure function of the seed and the transformers name.

    Matrices are normal with ``initializer_range``; those that write into the residual stream are scaled by
    ``1 / sqrt(2 L)`` (Radford et al. 2019, GPT-2, section 2.3). Norms are ones, biases zeros.
    """
    if name.endswith("norm.weight"):
        return torch.ones(shape)
    if name.endswith(".bias"):
        return torch.zeros(shape)
    std = config.initializer_range
    if name.endswith(RESIDUAL_OUTPUTS):
        std /= math.sqrt(2 * config.num_hidden_layers)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.empty(shape).normal_(0.0, std, generator=generator)


def initialise(
    model: nn.Module, config: ModelConfig, seed: int, opened: Opener | None = None, writes: bool = True
) -> None:
    """Fill every parameter of ``model``.

    Args:
        opened: returns a context in which a partitioned parameter of ZeRO-3 can be written as a whole.
        writes: False on ranks that only take part in opening the parameters.
    """
    for name, parameter in named_hf_parameters(model):
        context = opened(parameter) if opened is not None else contextlib.nullcontext()
        with context, torch.no_grad():
            if writes:
                full = initial_tensor(config, seed, name, full_shape(parameter))
                parameter.copy_(cut_slice(full, slicing_of(parameter)))
