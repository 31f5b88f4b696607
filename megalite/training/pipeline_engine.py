"""The same optimizer step over DeepSpeed's pipeline schedule."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from megalite.config.labels import IGNORE
from megalite.config.schema import RunConfig
from megalite.model.init import initialise
from megalite.model.layer_execution import LayerExecution
from megalite.model.pipeline_stage import PipelineStage
from megalite.parallel.mesh import Mesh
from megalite.training.engine import Batch, Engine
from megalite.training.supervision.heartbeat import Heartbeat


def build_engine(
    config: RunConfig, ds_config: dict[str, Any], mesh: Mesh, device: torch.device, heartbeat: Heartbeat | None = None
) -> Engine:
    """The pipeline engine if the mesh has a pipeline, else the plain one. Collective."""
    kind = PipelineEngine if mesh.pipe_size > 1 else Engine
    return kind(config, ds_config, mesh, device, heartbeat)


class PipelineEngine(Engine):
    """DeepSpeed's 1F1B schedule; the last stage computes the loss, with the same scale as without a pipeline."""

    def build_model(self, ds_config: dict[str, Any], dtype: torch.dtype) -> PipelineStage:
        """This rank's stage."""
        config, autocast = self.config, torch.bfloat16 if self.autocast else None
        execution = LayerExecution.from_config(config.training)
        stage = PipelineStage(config.model, self.mesh, config.parallel, execution, autocast).to(dtype)
        initialise(stage, config.model, config.run.seed)
        stage.loss_fn = self._loss = StageLoss()
        self._labels = stage.labels
        stage.register_forward_pre_hook(self._next_micro_batch)
        return stage

    def mpu(self) -> None:
        """None: the pipeline stage has its own topology, which is the same as that of the mesh."""

    def forward_backward_step(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """As without a pipeline; returns zero on stages before the last."""
        # DeepSpeed's pipeline engine always divides the loss by the number of micro-batches.
        self._loss.scale = scale * len(batches)
        self.heartbeat.at("pipeline schedule", -1)
        self.deepspeed.train_batch(data_iter=self._inputs_and_labels(batches))
        return self._loss.take_sum(self.device)

    @torch.no_grad()
    def evaluate(self, micro_batches: Sequence[Batch]) -> Tensor:
        """As without a pipeline; returns zeros on stages before the last."""
        self.heartbeat.at("validation", -1)
        batches = [self.own_tokens(batch) for batch in micro_batches]
        self.deepspeed.eval_batch(
            self._inputs_and_labels(batches), bcast_loss=False, reduce_output=None, num_micro_batches=len(batches)
        )
        counted = sum(int((batch["labels"] != IGNORE).sum()) for batch in batches) if self.has_loss else 0
        return torch.stack(
            [self._loss.take_sum(self.device).double(), torch.tensor(float(counted), device=self.device)]
        )

    def _next_micro_batch(self, *_: Any) -> None:
        self.heartbeat.at(self.heartbeat.phase, self.heartbeat.micro_batch + 1)

    def _inputs_and_labels(self, batches: Sequence[Batch]) -> Iterator[tuple[Any, Tensor]]:
        self._labels.clear()
        for batch in batches:
            inputs: Any = batch["input_ids"].contiguous()
            if "positions" in batch:
                inputs = (inputs, batch["positions"].contiguous())
            labels = batch["labels"].contiguous()
            if self.has_loss:
                self._labels.append(labels.to(self.device, non_blocking=True))
            yield inputs, labels


class StageLoss:
    """DeepSpeed's ``loss_fn`` on the output of the last stage, which is the loss: scales it, and sums it for the log."""

    def __init__(self) -> None:
        self.scale = 1.0
        """Set before every step."""
        self._sum: Tensor | None = None

    def __call__(self, loss: Tensor, labels: Tensor) -> Tensor:
        """``scale * loss`` of one micro-batch; the labels are in the loss already."""
        self._sum = loss.detach() if self._sum is None else self._sum + loss.detach()
        return loss * self.scale

    def take_sum(self, device: torch.device) -> Tensor:
        """Returns the unscaled sum since the last call, zero on stages without a loss."""
        taken, self._sum = self._sum, None
        return torch.zeros((), device=device) if taken is None else taken
