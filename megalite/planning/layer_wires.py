"""What each layer sends in one micro-batch, counted while it runs forward and backward on torch's meta device."""

import warnings
from typing import Any, NamedTuple

import torch
from torch import nn

from megalite.config.errors import ConfigError
from megalite.config.schema import RunConfig
from megalite.model.layer_list import run_layers
from megalite.model.layer_shapes import structure
from megalite.planning.counting_mesh import CountingMesh


class LayerWires(NamedTuple):
    """Bytes that one rank sends by axis."""

    tensor: float
    context: float


def layer_wires(config: RunConfig, layers: list[nn.Module], mesh: CountingMesh) -> tuple[list[LayerWires], int]:
    """Returns what each layer sends, and the bytes of the activations between two layers.

    Args:
        layers: the whole list, on the meta device, with the groups of ``mesh``.

    Raises: ConfigError if a tensor of the micro-batch has more elements than PyTorch can count.
    """
    try:
        return _run(config, layers, mesh)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise ConfigError(
            f"batch.micro_batch_size={config.batch.micro_batch_size} samples of data.sequence_length="
            f"{config.data.sequence_length} tokens are too large for any device; use smaller ones"
        ) from None


def _run(config: RunConfig, layers: list[nn.Module], mesh: CountingMesh) -> tuple[list[LayerWires], int]:
    shape = config.batch.micro_batch_size, config.data.sequence_length // mesh.context_size
    labels = torch.empty(shape, dtype=torch.int64, device="meta")
    counted: dict[Any, LayerWires] = {}
    hidden = labels
    for layer in layers:
        if structure(layer) in counted:
            continue
        mesh.sent.update(tensor=0.0, context=0.0)
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # names of collectives before PyTorch 2.13
            output = layer(hidden, labels) if layer is layers[-1] else run_layers([layer], hidden, None)
            output.backward(torch.empty_like(output))
        counted[structure(layer)] = LayerWires(**mesh.sent)
        if layer is not layers[-1]:
            hidden = output.detach().requires_grad_()
    return [counted[structure(layer)] for layer in layers], hidden.nbytes
