"""The training loop: batches, steps, validation, checkpoints."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from megalite.config.errors import DivergenceError
from megalite.config.schema import RunConfig
from megalite.data.fingerprint import MODULUS
from megalite.data.history import mix_record
from megalite.data.loader import BatchLoader
from megalite.data.prepare import ValidationData
from megalite.training.checkpoint_save import save_checkpoint
from megalite.training.checkpoint_state import TrainingState, last_fingerprint
from megalite.training.engine import Engine, StepResult
from megalite.training.metrics import Metrics
from megalite.training.schedule import learning_rate
from megalite.training.validation import ValidationResult, validate


@dataclass
class Reckoning:
    """How speed becomes utilisation (Chowdhery et al. 2022, arXiv:2204.02311, appendix B)."""

    flops_per_token: float
    """Of forward and backward together."""
    peak_flops: float
    """Of all devices together, a second."""
    is_measured: bool = False
    """A measured peak is the best rate seen so far: a run that is faster has seen a better one, and it counts from there."""

    def mfu(self, tokens_per_second: float) -> float:
        """The share of the peak that the model's own operations use; never above 1 where the peak is measured."""
        rate = tokens_per_second * self.flops_per_token
        if self.is_measured:
            self.peak_flops = max(self.peak_flops, rate)
        return rate / self.peak_flops


@dataclass(frozen=True)
class Outcome:
    """What a finished run has reached."""

    checkpoint: Path
    loss: float
    validation: ValidationResult | None
    tokens: int
    seconds: float


def train(
    engine: Engine,
    config: RunConfig,
    ds_config: dict[str, Any],
    loader: BatchLoader,
    validation: ValidationData | None,
    start: TrainingState,
    run: Path,
    reckoning: Reckoning,
    metrics: Metrics,
) -> Outcome:
    """Train from ``start`` to ``training.steps``. Collective.

    Raises: DivergenceError where the gradient norm of any step, or the loss of a logged one, is not finite; the last
        checkpoint stands.
    """
    total, batch = config.training.steps, config.batch.global_batch_size
    consumed, outcome_validation, checkpoint, loss = start.consumed_samples, None, run, math.nan
    began, all_tokens = time.perf_counter(), 0
    window_began, window_tokens = began, 0
    for step in range(start.step, total):
        lr = learning_rate(config.schedule, config.optimizer.lr, step, total)
        engine.progress.step = step + 1
        engine.progress.at("reading")
        result = engine.train_step(loader.step_batches(consumed), lr)
        consumed += batch
        window_tokens += result.tokens
        all_tokens += result.tokens
        done = step + 1
        metrics.advance()

        last = done == total
        saves = last or done % config.checkpoint.every_steps == 0
        logs = saves or done % config.logging.every_steps == 0 or not math.isfinite(result.grad_norm)
        validates = validation is not None and (last or done % config.validation.every_steps == 0)
        if logs:
            loss = _mean_loss(engine, result)
            _refuse_non_finite(done, loss, result.grad_norm)
            fingerprint = _read_fingerprint(engine, loader, start)
            speed = window_tokens / (time.perf_counter() - window_began)
            values: dict[str, Any] = {
                "loss": loss,
                "grad_norm": result.grad_norm,
                "lr": lr,
                "tokens_per_second": speed,
                "mfu": reckoning.mfu(speed),
                "consumed_samples": consumed,
                "read_fingerprint": fingerprint,
            }
            metrics.log_step(done, values)
        if validates and validation is not None:
            outcome_validation = validate(
                engine,
                validation.dataset,
                config.batch.micro_batch_size,
                config.validation.max_samples,
                validation.bytes_per_token,
            )
            metrics.log_validation(done, outcome_validation)
        if saves:
            engine.progress.at("checkpoint")
            state = replace(
                start,
                step=done,
                consumed_samples=consumed,
                read_fingerprint=fingerprint,
                last_fingerprint=last_fingerprint(loader.dataset, consumed),
                mix=mix_record(config),
            )
            checkpoint = save_checkpoint(engine, config, ds_config, run, state)
            metrics.log_event(done, "checkpoint", f"saved {checkpoint}")
        if logs or validates:  # the speed is that of training alone
            window_began, window_tokens = time.perf_counter(), 0
    return Outcome(checkpoint, loss, outcome_validation, all_tokens, time.perf_counter() - began)


def _mean_loss(engine: Engine, result: StepResult) -> float:
    """Loss per token over the global batch, in nats."""
    return float(engine.total(result.loss_sum.double())) / result.tokens


def _read_fingerprint(engine: Engine, loader: BatchLoader, start: TrainingState) -> str:
    """Of all samples read since step 0: each data rank counted once."""
    counts = engine.has_loss and engine.mesh.context_rank == 0
    own = torch.tensor(loader.fingerprint if counts else 0, dtype=torch.int64, device=engine.device)
    return f"{(int(engine.total(own)) + int(start.read_fingerprint, 16)) % MODULUS:010x}"


def _refuse_non_finite(step: int, loss: float, grad_norm: float) -> None:
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise DivergenceError(
            f"step {step}: loss {loss}, gradient norm {grad_norm}: training has diverged; resume from the last "
            f"checkpoint with a lower optimizer.lr or a longer schedule.warmup_steps"
        )
