"""Whole optimizer steps over a DeepSpeed engine."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from megalite.config.ds_config import zero_stage
from megalite.config.labels import IGNORE
from megalite.config.schema import RunConfig
from megalite.model.build import build_model
from megalite.model.hf_names import named_hf_parameters
from megalite.model.layer_execution import LayerExecution
from megalite.parallel.gradient_groups import check_data_parallel_group
from megalite.parallel.mesh import Mesh
from megalite.training.distributed import quiet_deepspeed
from megalite.training.gradient_norm import GradientClipping
from megalite.training.optimizers.definition import optimizer_definition
from megalite.training.supervision.heartbeat import Heartbeat

Batch = dict[str, Tensor]
"""``input_ids`` and ``labels`` ``(B, S)``; with masked documents also ``positions`` ``(B, S)``."""
ANY_OPTIMIZER = {"zero_allow_untested_optimizer": True}
"""DeepSpeed would refuse those it does not know; ours pass ``test_training_optimizer``."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class StepResult:
    """Loss, tokens and gradient norm of one optimizer step."""

    loss_sum: Tensor
    """Negative log-likelihood in nats, summed over this rank's counted tokens, on the device."""
    tokens: int
    """Counted tokens of the whole global batch."""
    grad_norm: float
    """Global gradient norm before clipping."""


class Engine:
    """Forward, backward and update over DeepSpeed, with the loss normalised by the tokens of the global batch.

    A mean of micro-batch means would give a token more weight if its micro-batch has few counted tokens. Instead, every
    micro-batch adds its loss summed over tokens, and the sum is divided once by the counted tokens of the global batch,
    over all accumulation steps and all ranks that read other tokens.
    """

    def __init__(
        self,
        config: RunConfig,
        ds_config: dict[str, Any],
        mesh: Mesh,
        device: torch.device,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """Build model, optimizer and DeepSpeed engine from the merged ``ds_config``. Collective."""
        deepspeed = quiet_deepspeed()
        self.config, self.mesh, self.device = config, mesh, device
        self.zero_stage = zero_stage(ds_config)
        self.heartbeat = heartbeat or Heartbeat()
        # ZeRO stage 0 keeps fp32 weights and runs the matrix products in bf16 (see config.ds_config).
        low_precision_weights = ds_config["bf16"]["enabled"]
        self.autocast = config.training.precision == "bf16" and not low_precision_weights
        with contextlib.redirect_stdout(io.StringIO()):  # DeepSpeed prints memory reports
            model = self.build_model(ds_config, torch.bfloat16 if low_precision_weights else torch.float32)
            self.named_parameters = list(named_hf_parameters(model))
            check_data_parallel_group((parameter for _, parameter in self.named_parameters), mesh)
            definition = optimizer_definition(config.optimizer.name)
            optimizer = definition.build(self.named_parameters, config.optimizer)
            self.deepspeed, *_ = deepspeed.initialize(
                model=model, optimizer=optimizer, config=ds_config | ANY_OPTIMIZER, mpu=self.mpu()
            )
        self.clipping: GradientClipping | None = None
        if self.zero_stage == 0:
            parameters = [parameter for _, parameter in self.named_parameters]
            self.clipping = GradientClipping(parameters, mesh, config.optimizer.gradient_clipping)
            optimizer.register_step_pre_hook(self.clipping)
        elif self.zero_stage in (1, 2):
            definition.create_state(self.deepspeed.optimizer.optimizer)

    def build_model(self, ds_config: dict[str, Any], dtype: torch.dtype) -> nn.Module:
        """The model on its device."""
        return build_model(
            self.config.model,
            self.mesh,
            zero3_config=ds_config if self.zero_stage == 3 else None,
            seed=self.config.run.seed,
            dtype=dtype,
            execution=LayerExecution.from_config(self.config.training),
        ).to(self.device)

    def mpu(self) -> Mesh | None:
        """The object from which DeepSpeed gets its process groups."""
        return self.mesh

    def train_step(self, micro_batches: Sequence[Batch], lr: float) -> StepResult:
        """Accumulate over ``micro_batches`` (this data rank's share of the global batch), clip, and update once."""
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = lr
        batches = [self.own_tokens(batch) for batch in micro_batches]
        counted = sum(int((batch["labels"] != IGNORE).sum()) for batch in batches) if self.has_loss else 0
        tokens = int(self.total(torch.tensor(counted, device=self.device)))
        # DeepSpeed divides gradients by the size of the data-parallel group.
        loss_sum = self.forward_backward_step(batches, scale=self.mesh.replicas / tokens)
        norm = self.deepspeed.get_global_grad_norm() if self.clipping is None else self.clipping.norm
        return StepResult(loss_sum, tokens, float(norm))

    def forward_backward_step(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """Accumulate the gradients of ``scale * loss summed over tokens``, then update once. Returns the unscaled sum."""
        engine = self.deepspeed
        engine.train()
        loss_sum = torch.zeros((), device=self.device)
        for number, batch in enumerate(batches):
            self.heartbeat.at("forward", number)
            loss = self._loss_sum(batch)
            self.heartbeat.at("backward", number)
            engine.backward(loss * scale, scale_wrt_gas=False)
            loss_sum += loss.detach()
            self.heartbeat.at("optimizer step", number)
            engine.step()
        return loss_sum

    @torch.no_grad()
    def evaluate(self, micro_batches: Sequence[Batch]) -> Tensor:
        """Returns the summed loss and the number of counted tokens of this rank, as a float64 tensor of two."""
        self.deepspeed.eval()
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        for number, batch in enumerate(map(self.own_tokens, micro_batches)):
            self.heartbeat.at("validation", number)
            totals[0] += self._loss_sum(batch)
            totals[1] += (batch["labels"] != IGNORE).sum()
        return totals

    @property
    def has_loss(self) -> bool:
        """Whether this rank's pipeline stage computes the loss."""
        return self.mesh.pipe_rank == self.mesh.pipe_size - 1

    def total(self, value: Tensor) -> Tensor:
        """Sum ``value`` over the global batch, in place; ranks without a loss pass zeros. Collective."""
        if self.mesh.replicas > 1:
            torch.distributed.all_reduce(value, group=self.mesh.data_parallel_group)
        if self.mesh.pipe_size > 1:
            torch.distributed.all_reduce(value, group=self.mesh.pipe_group)
        return value

    def own_tokens(self, batch: Batch) -> Batch:
        """This context rank's part of the sequence. Positions stay whole, because attention needs all of them."""
        length = batch["labels"].shape[1] // self.mesh.context_size
        mine = slice(self.mesh.context_rank * length, (self.mesh.context_rank + 1) * length)
        return {key: value if key == "positions" else value[:, mine] for key, value in batch.items()}

    def _loss_sum(self, batch: Batch) -> Tensor:
        moved = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.deepspeed(moved["input_ids"], moved.get("positions"), moved["labels"])
