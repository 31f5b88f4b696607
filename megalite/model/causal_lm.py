"""The whole decoder in one module, without a pipeline."""

from torch import Tensor, nn

from megalite.config.model import ModelConfig
from megalite.model.layer_execution import EAGER, LayerExecution
from megalite.model.layer_list import layer_list, run_layers
from megalite.parallel.mesh import Mesh


class CausalLM(nn.Module):
    """Runs the list of layers in order.

    Shape: ``(B, S)`` int64 -> logits ``(B, S, V/t)``, or the summed loss; see ``Head``.
    """

    def __init__(self, config: ModelConfig, mesh: Mesh, execution: LayerExecution = EAGER) -> None:
        """Allocate the layers; ``megalite.model.build`` also draws the weights."""
        super().__init__()
        self.layers = nn.ModuleList(make() for make in layer_list(config, mesh, execution))
        if config.tie_word_embeddings:
            self.layers[-1].weight = self.layers[0].weight

    def forward(self, input_ids: Tensor, positions: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Logits of the next token at every position, or the summed loss; ``positions`` as in ``run_layers``."""
        *layers, head = self.layers
        return head(run_layers(layers, input_ids, positions), labels)
