"""A DeepSpeed engine that takes whole optimizer steps and tells the loss per token."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from megalite.config.ds_config import zero_stage
from megalite.config.schema import RunConfig
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.cross_entropy import cross_entropy_sum
from megalite.parallel.mesh import Mesh
from megalite.training.optimizer import build_optimizer, create_state
from megalite.training.ranks import quiet_deepspeed

Batch = dict[str, Tensor]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class StepResult:
    """One optimizer step: the loss of this rank's tokens, summed, and what all ranks share."""

    loss_sum: Tensor
    """Negative log-likelihood in nats, summed over this rank's counted tokens; still on the device."""
    tokens: int
    """Counted tokens of the whole global batch."""
    grad_norm: float
    """Global gradient norm before clipping."""


class Engine:
    """Forward, backward and step over DeepSpeed, with the loss normalised by the tokens of the whole global batch.

    A mean of micro-batch means would weigh a token more where its micro-batch has few counted tokens. Here every
    micro-batch contributes its loss summed over tokens, divided once by the number of counted tokens in the global
    batch: over accumulation and over all data-parallel ranks.
    """

    def __init__(self, config: RunConfig, ds_config: dict[str, Any], mesh: Mesh, device: torch.device) -> None:
        """Build model, optimizer and DeepSpeed engine. ``ds_config`` is the merged one."""
        deepspeed = quiet_deepspeed()
        self.stage = zero_stage(ds_config)
        self.mesh, self.device, self._vocab_size = mesh, device, config.model.vocab_size
        # Stage 0 keeps fp32 weights and runs the products in bf16 (see config.ds_config).
        low_precision_weights = ds_config["bf16"]["enabled"]
        self._autocast = config.training.precision == "bf16" and not low_precision_weights
        model = build_model(
            config.model,
            mesh,
            zero3_config=ds_config if self.stage == 3 else None,
            seed=config.run.seed,
            dtype=torch.bfloat16 if low_precision_weights else torch.float32,
            checkpoint_activations=config.training.checkpoint_activations,
        ).to(device)
        self.named_parameters = list(named_hf_parameters(model))
        optimizer = build_optimizer(self.named_parameters, config.optimizer)
        with contextlib.redirect_stdout(io.StringIO()):  # memory reports that it prints without being asked
            self.deepspeed, *_ = deepspeed.initialize(
                model=model, optimizer=optimizer, config=ds_config, mpu=mesh if mesh.tensor_size > 1 else None
            )
        if self.stage in (1, 2):
            create_state(self.deepspeed.optimizer.optimizer)

    def train_step(self, micro_batches: Sequence[Batch], lr: float) -> StepResult:
        """Accumulate over ``micro_batches`` (this rank's share of the global batch), clip, and update once."""
        engine = self.deepspeed
        engine.train()
        for group in engine.optimizer.param_groups:
            group["lr"] = lr
        counted = sum(int((batch["labels"] != -100).sum()) for batch in micro_batches)
        tokens = int(self.sum_over_data(torch.tensor(float(counted), dtype=torch.float64, device=self.device)))
        scale = self.mesh.data_size / tokens  # DeepSpeed divides gradients by the number of data-parallel ranks
        loss_sum, norm = torch.zeros((), device=self.device), None
        for batch in micro_batches:
            loss = self._loss_sum(batch)
            engine.backward(loss * scale, scale_wrt_gas=False)
            loss_sum += loss.detach()
            if self.stage == 0 and engine.is_gradient_accumulation_boundary():
                norm = self._gradient_norm()
            engine.step()
        return StepResult(loss_sum, tokens, float(engine.get_global_grad_norm() if norm is None else norm))

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Tensor:
        """``(loss summed, counted tokens)`` of one batch of this rank, as a float64 tensor of two."""
        self.deepspeed.eval()
        counted = (batch["labels"] != -100).sum()
        return torch.stack([self._loss_sum(batch).double().cpu(), counted.double().cpu()]).to(self.device)

    def sum_over_data(self, value: Tensor) -> Tensor:
        """``value`` summed over the data-parallel ranks."""
        if self.mesh.data_size > 1:
            torch.distributed.all_reduce(value, group=self.mesh.data_group)
        return value

    def _loss_sum(self, batch: Batch) -> Tensor:
        input_ids = batch["input_ids"].to(self.device, non_blocking=True)
        labels = batch["labels"].to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            logits = self.deepspeed(input_ids)
        return cross_entropy_sum(logits, labels, self._vocab_size, self.mesh)

    def _gradient_norm(self) -> Tensor:
        """The global norm at stage 0, where DeepSpeed keeps none: slices count once each, replicas once."""
        squares = torch.zeros(2, device=self.device)
        for _, parameter in self.named_parameters:
            if parameter.grad is not None:
                is_slice = getattr(parameter, "tensor_model_parallel", False)
                squares[int(is_slice)] += parameter.grad.float().square().sum()
        if self.mesh.tensor_size > 1:
            torch.distributed.all_reduce(squares[1:], group=self.mesh.tensor_group)
        return squares.sum().sqrt()
