"""How a decoder layer runs: with which attention kernel, and what it keeps for the backward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from megalite.config.schema import ActivationCheckpointing, TrainingSection
from megalite.model.attention_product import attention_product

Compute = Callable[..., Tensor]


@dataclass(frozen=True)
class LayerExecution:
    """Changes the speed and memory of a layer, never its result. Every decoder layer wraps its body and its attention."""

    activation_checkpointing: ActivationCheckpointing = "none"

    @classmethod
    def from_config(cls, training: TrainingSection) -> Self:
        return cls(training.activation_checkpointing)

    def wrap_layer(self, compute: Compute) -> Compute:
        """Wraps the body of a decoder layer."""
        return partial(_checkpoint, compute) if self.activation_checkpointing == "full" else compute

    def attention_product(self) -> Compute:
        """The attention kernel, wrapped."""
        selective = self.activation_checkpointing == "selective"
        return partial(_checkpoint, attention_product) if selective else attention_product


EAGER = LayerExecution()
"""No compilation, all activations kept."""


def _checkpoint(compute: Compute, *inputs: object) -> Tensor:
    # Non-reentrant: the reentrant kind breaks in DeepSpeed's pipeline engine.
    return checkpoint(compute, *inputs, use_reentrant=False) if torch.is_grad_enabled() else compute(*inputs)
