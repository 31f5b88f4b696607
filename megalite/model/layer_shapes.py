"""What the layers of the list hold and compute, read off torch's meta device: nothing is allocated."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from megalite.config.model import ModelConfig
from megalite.model.hf_names import named_hf_parameters
from megalite.model.layer_execution import EAGER, LayerExecution
from megalite.model.layer_list import layer_list, run_layers
from megalite.parallel.mesh import Mesh


class LayerFlops(NamedTuple):
    """Floating-point operations of one layer in the forward pass of one sample; a multiply and an add are two."""

    products: int
    """Of matrix products with weights."""
    attention: int
    """Of both products of the attention, over the causal half of the square."""


def layers_on_meta(config: ModelConfig, mesh: Mesh | None = None, execution: LayerExecution = EAGER) -> list[nn.Module]:
    """Builds the list of layers on the meta device, by default for one process."""
    with torch.device("meta"):
        return [make() for make in layer_list(config, mesh or Mesh.single(), execution)]


def parameters_by_name(layers: Sequence[nn.Module]) -> dict[str, nn.Parameter]:
    """Returns the parameters by their Hugging Face names; one that two of the layers share occurs once."""
    return dict(named_hf_parameters(nn.ModuleList(layers)))


def hf_parameter_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Returns name and shape of every tensor in a Hugging Face folder, in the order of the layers."""
    return {name: parameter.shape for name, parameter in parameters_by_name(layers_on_meta(config)).items()}


@functools.lru_cache
def parameter_count(config: ModelConfig) -> int:
    """Returns the number of trained parameters; a tied head counts once."""
    return sum(shape.numel() for shape in hf_parameter_shapes(config).values())


def structure(layer: nn.Module) -> tuple[Any, ...]:
    """Returns a key that is equal for layers of the same class and parameter shapes, which cost the same."""
    return type(layer), *(parameter.shape for parameter in layer.parameters())


@functools.lru_cache
def layer_flops(config: ModelConfig, sequence_length: int) -> tuple[LayerFlops, ...]:
    """Counts the operations of every layer of the list."""
    counted: dict[Any, LayerFlops] = {}
    layers = layers_on_meta(config)
    x = torch.empty(1, sequence_length, dtype=torch.int64, device="meta")
    for layer in layers:
        if structure(layer) not in counted:
            with torch.no_grad(), FlopCounterMode(display=False) as products, _AttentionFlops() as attention:
                x = run_layers([layer], x, None)
            counted[structure(layer)] = LayerFlops(products.get_total_flops(), attention.total)
    return tuple(counted[structure(layer)] for layer in layers)


class _AttentionFlops(TorchFunctionMode):
    """Counts ``scaled_dot_product_attention`` instead of running it: without a kernel, it would compute the whole square."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args
        batch, heads, length, head_dim = query.shape
        pairs = length * (length + 1) // 2 if kwargs.get("is_causal") else length * key.shape[-2]
        self.total += 2 * batch * heads * pairs * (head_dim + value.shape[-1])
        return query.new_empty(batch, heads, length, value.shape[-1])
