"""The whole decoder on one pipeline stage."""

from torch import Tensor, nn

from megalite.config.model import ModelConfig
from megalite.model.layer_list import layer_list
from megalite.parallel.mesh import Mesh


class CausalLM(nn.Module):
    """Runs the list of layers in order.

    Shape: ``(B, S)`` int64 -> logits ``(B, S, V/t)``.
    """

    def __init__(self, config: ModelConfig, mesh: Mesh, checkpoint_activations: bool = False) -> None:
        """Allocate; ``megalite.model.build`` also fills the weights."""
        super().__init__()
        self.layers = nn.ModuleList(layer_list(config, mesh, checkpoint_activations))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        x = input_ids
        for layer in self.layers:
            x = layer(x)
        return x
