"""Parameter groups: matrices decay, norms and biases do not."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def weight_decay_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Groups for a torch optimizer, from (transformers name, parameter)."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in named:
        (kept if is_norm_or_bias(name) else decayed).append(parameter)
    # ZeRO sums the gradient norm once per group, and DeepSpeed drops empty groups: a pipeline stage with only one group
    # would block the others.
    assert decayed and kept, "every pipeline stage has both groups, as it has a decoder layer"
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def is_norm_or_bias(name: str) -> bool:
    """Whether a transformers parameter name is a norm's scale or a bias."""
    return name.endswith((".bias", "norm.weight"))
