"""A slice of the layer list as a DeepSpeed pipeline stage.

Pipeline parallelism: Huang et al. 2019, arXiv:1811.06965; the 1F1B schedule: Narayanan et al. 2021, arXiv:2104.04473, 2.2.
"""

import contextlib
import io
from collections import deque
from typing import Any

import torch
from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology
from torch import Tensor

from megalite.config.model import ModelConfig
from megalite.config.schema import ParallelSection
from megalite.model.layer_execution import LayerExecution
from megalite.model.layer_list import Embedding, Head, layer_list, run_layers
from megalite.model.pipeline_split import stage_bounds
from megalite.parallel.mesh import Mesh


class PipelineStage(PipelineModule):
    """This rank's slice of the layer list; the layers of other stages are never allocated.

    Inputs and outputs are hidden states. With masked documents they are pairs of hidden states and positions, so that every
    stage gets the positions. The last stage returns the loss, summed over tokens.
    """

    def __init__(
        self,
        config: ModelConfig,
        mesh: Mesh,
        parallel: ParallelSection,
        execution: LayerExecution,
        autocast: torch.dtype | None = None,
    ) -> None:
        """Allocate the stage. Collective.

        Args:
            autocast: dtype of the matrix products over fp32 weights.
        """
        self._bounds = stage_bounds(config, parallel)
        self._autocast = autocast
        topology = PipeModelDataParallelTopology(num_pp=mesh.pipe_size, num_mp=mesh.tensor_size, num_dp=mesh.replicas)
        # DeepSpeed prints all layers, and broadcasts the tied table in place, which autograd must not record.
        with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            super().__init__(_specs(config, mesh, execution), topology=topology)
        self.labels: deque[Tensor] = deque()
        """The labels of the next micro-batches; the last stage takes one for each forward pass."""

    def forward(self, inputs: Any) -> Any:
        """Token ids or hidden states -> hidden states, paired with the positions if documents are masked; or the loss.

        The head runs here and not in DeepSpeed's ``loss_fn``: DeepSpeed clears gradients when the backward pass reaches
        the output of this module, which would lose those of the head (BF16_Optimizer).
        """
        x, positions = inputs if isinstance(inputs, tuple) else (inputs, None)
        is_last = self.stage_id == self.num_stages - 1
        with torch.autocast(x.device.type, self._autocast, enabled=self._autocast is not None):
            x = run_layers(self.forward_funcs[:-1] if is_last else self.forward_funcs, x, positions)
            if is_last:
                return self.forward_funcs[-1](x, self.labels.popleft())
        return x if positions is None else (x, positions)

    def _partition_layers(self, method: str = "") -> None:
        """Set the layers of every stage. DeepSpeed's own method builds every layer to count its parameters."""
        self.parts = self._bounds
        self._set_bounds(self.parts[self.stage_id], self.parts[self.stage_id + 1])


def _specs(config: ModelConfig, mesh: Mesh, execution: LayerExecution) -> list[LayerSpec]:
    """The layer list as DeepSpeed takes it. Tied layers share a key; DeepSpeed sums their gradients over the stages."""
    specs = []
    for make in layer_list(config, mesh, execution):
        if config.tie_word_embeddings and make.func in (Embedding, Head):
            specs.append(TiedLayerSpec("embedding", make.func, *make.args))
        else:
            specs.append(LayerSpec(make.func, *make.args))
    return specs
