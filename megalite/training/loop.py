"""The training loop: batches, steps, validation, checkpoints."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from megalite.config.errors import DivergenceError, Stopped
from megalite.config.schema import RunConfig
from megalite.data.samples.fingerprint import MODULUS
from megalite.data.samples.history import mix_record
from megalite.data.samples.loader import BatchLoader
from megalite.data.training_data import ValidationData
from megalite.training.checkpoint.save import save_checkpoint
from megalite.training.checkpoint.training_state import TrainingState, last_fingerprint
from megalite.training.engine import Engine, StepRefused, StepResult
from megalite.training.metrics import Metrics
from megalite.training.run_folder import checkpoints, step_folder
from megalite.training.schedule import learning_rate
from megalite.training.supervision.stop import Stop
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
    stop: Stop | None = None,
) -> Outcome:
    """Train from ``start`` to ``training.steps``. Collective.

    Args:
        stop: may ask for an end before that; the step that is being done then is finished and saved.

    Raises: DivergenceError where the gradient norm of any step, the loss of a logged one or a validation loss is not
        finite; Stopped. The last checkpoint stands.
    """
    total, batch = config.training.steps, config.batch.global_batch_size
    state, outcome_validation, checkpoint, loss = start, None, run, math.nan
    began, all_tokens = time.perf_counter(), 0
    window_began, window_tokens = began, 0
    stop = stop or Stop()
    engine.wants_to_stop = lambda: stop.reason is not None
    result: StepResult | None = None
    lr = 0.0

    def log(done: int, result: StepResult, lr: float) -> None:
        nonlocal loss, state
        loss = _mean_loss(engine, result)
        _refuse_non_finite(run, done, {"loss": loss, "gradient norm": result.grad_norm})
        state = replace(
            state,
            step=done,
            consumed_samples=start.consumed_samples + (done - start.step) * batch,
            read_fingerprint=_read_fingerprint(engine, loader, start),
        )
        speed = window_tokens / (time.perf_counter() - window_began)
        values: dict[str, Any] = {
            "loss": loss,
            "grad_norm": result.grad_norm,
            "lr": lr,
            "tokens_per_second": speed,
            "mfu": reckoning.mfu(speed),
            "consumed_samples": state.consumed_samples,
            "read_fingerprint": state.read_fingerprint,
        }
        metrics.log_step(done, values)

    def save() -> None:
        nonlocal checkpoint
        engine.heartbeat.at("checkpoint")
        last = last_fingerprint(loader.dataset, state.consumed_samples)
        whole = replace(state, last_fingerprint=last, mix=mix_record(config))
        checkpoint = save_checkpoint(engine, config, ds_config, run, whole)
        metrics.log_event(state.step, "checkpoint", f"saved {checkpoint}")

    for step in range(start.step, total):
        next_lr = learning_rate(config.schedule, config.optimizer.lr, step, total)
        engine.heartbeat.step = step + 1
        engine.heartbeat.at("reading")
        read = loader.fingerprint
        batches = loader.step_batches(start.consumed_samples + (step - start.step) * batch)
        try:
            result = engine.train_step(batches, next_lr)
        except StepRefused:
            loader.fingerprint = read
            if result is not None and checkpoint != step_folder(run, step):
                if state.step != step:
                    log(step, result, lr)
                save()
            raise _stopped(stop, run, step, metrics) from None
        lr = next_lr
        window_tokens += result.tokens
        all_tokens += result.tokens
        done = step + 1
        metrics.advance()

        last = done == total
        saves = last or done % config.checkpoint.every_steps == 0
        logs = saves or done % config.logging.every_steps == 0 or not math.isfinite(result.grad_norm)
        validates = validation is not None and (last or done % config.validation.every_steps == 0)
        if logs:
            log(done, result, lr)
        if validates and validation is not None:
            outcome_validation = validate(
                engine,
                validation.dataset,
                config.batch.micro_batch_size,
                config.validation.max_samples,
                validation.bytes_per_token,
            )
            metrics.log_validation(done, outcome_validation)
            _refuse_non_finite(run, done, {"validation loss": outcome_validation.loss})
        if saves:
            save()
        if logs or validates:  # the speed is that of training alone
            window_began, window_tokens = time.perf_counter(), 0
    return Outcome(checkpoint, loss, outcome_validation, all_tokens, time.perf_counter() - began)


def _stopped(stop: Stop, run: Path, step: int, metrics: Metrics) -> Stopped:
    """What ends all ranks after a vote, with the reason of the first that has one. Collective."""
    asked: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(asked, (stop.reason, stop.exit_code))
    stop.is_agreed = True
    stop.reason, stop.exit_code = next(reason for reason in asked if reason[0] is not None)
    metrics.log_event(step, "stop", f"stopped by {stop.reason}", shown=False)
    found = checkpoints(run)
    if not found:
        return stop.stopped("nothing was trained yet: run the same command again")
    return stop.stopped(f"all {step:,} steps are saved in {found[-1]}: go on with --resume")


def _mean_loss(engine: Engine, result: StepResult) -> float:
    """Loss per token over the global batch, in nats."""
    return float(engine.total(result.loss_sum.double())) / result.tokens


def _read_fingerprint(engine: Engine, loader: BatchLoader, start: TrainingState) -> str:
    """Of all samples read since step 0: each data rank counted once."""
    counts = engine.has_loss and engine.mesh.context_rank == 0
    own = torch.tensor(loader.fingerprint if counts else 0, dtype=torch.int64, device=engine.device)
    return f"{(int(engine.total(own)) + int(start.read_fingerprint, 16)) % MODULUS:010x}"


def _refuse_non_finite(run: Path, step: int, values: dict[str, float]) -> None:
    if not all(map(math.isfinite, values.values())):
        told = ", ".join(f"{name} {value}" for name, value in values.items())
        begin = "resume from the last checkpoint" if checkpoints(run) else "start again"
        raise DivergenceError(
            f"step {step}: {told}: training has diverged; {begin} with a lower optimizer.lr or a longer "
            f"schedule.warmup_steps"
        )
