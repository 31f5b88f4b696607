"""The training loop: batches, steps, validation, checkpoints."""

import itertools
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from megalite.config.errors import DivergenceError
from megalite.data.samples.fingerprint import MODULUS
from megalite.data.samples.history import mix_record
from megalite.data.samples.loader import BatchLoader
from megalite.training.checkpoint.save import save_checkpoint
from megalite.training.checkpoint.training_state import last_fingerprint
from megalite.training.engine import Engine, StepResult
from megalite.training.metrics import Metrics
from megalite.training.prepared_run import PreparedRun
from megalite.training.run_folder import checkpoints
from megalite.training.save_or_stop import Request, Requests
from megalite.training.schedule import learning_rate
from megalite.training.utilization import Utilization
from megalite.training.validation import ValidationResult, validate


@dataclass(frozen=True)
class Outcome:
    """What a finished run has reached."""

    checkpoint: Path
    loss: float
    validation: ValidationResult | None
    tokens: int
    seconds: float


class TrainingLoop:
    """Trains from ``run.start`` to ``training.steps``; ``requests`` may stop it before, after a save."""

    def __init__(
        self,
        engine: Engine,
        run: PreparedRun,
        loader: BatchLoader,
        utilization: Utilization,
        metrics: Metrics,
        requests: Requests | None = None,
    ) -> None:
        self._engine, self._run, self._loader = engine, run, loader
        self._utilization, self._metrics, self._requests = utilization, metrics, requests or Requests()
        self._state, self._checkpoint, self._loss = run.start, run.folder, math.nan
        self._validation: ValidationResult | None = None
        self._window_began, self._window_tokens = 0.0, 0

    def train(self) -> Outcome:
        """Run the loop to its end. Collective.

        Raises: Stopped; DivergenceError if a gradient norm, a logged loss or a validation loss is not finite. The last
            checkpoint stays.
        """
        engine, config, start = self._engine, self._run.config, self._run.start
        total, batch = config.training.steps, config.batch.global_batch_size
        began = self._window_began = time.perf_counter()
        tokens = 0
        for step in itertools.count(start.step):
            done = engine.heartbeat.step = step + 1
            engine.heartbeat.at("reading")
            batches = self._loader.step_batches(start.consumed_samples + (step - start.step) * batch)
            lr = learning_rate(config.schedule, config.optimizer.lr, step, total)
            result = engine.train_step(batches, lr)
            tokens += result.tokens
            self._window_tokens += result.tokens
            self._metrics.advance()

            last = done == total
            if saves := last or done % config.checkpoint.every_steps == 0:
                self._requests.ask(Request.STOP if last else Request.SAVE)
            logs = saves or done % config.logging.every_steps == 0 or not math.isfinite(result.grad_norm)
            validates = last or done % config.validation.every_steps == 0
            if logs:
                self._log(done, result, lr)
            if validates:
                self._validate(done)
            agreed = self._requests.vote(engine.device)
            if agreed:
                if self._state.step != done:
                    self._log(done, result, lr)
                self._save()
                agreed |= self._requests.vote(engine.device)  # a save may take long, and another step too
            if logs or validates or agreed:  # the speed is that of training alone
                self._window_began, self._window_tokens = time.perf_counter(), 0
            if Request.STOP in agreed:
                break
        if done < total:
            self._metrics.log_event(done, "stop", f"stopped by {self._requests.stop_reason}", shown=False)
            raise self._requests.stopped(f"all {done:,} steps are saved in {self._checkpoint}: resume with --resume")
        return Outcome(self._checkpoint, self._loss, self._validation, tokens, time.perf_counter() - began)

    def _log(self, done: int, result: StepResult, lr: float) -> None:
        start = self._run.start
        self._loss = float(self._engine.total(result.loss_sum.double())) / result.tokens
        self._refuse_non_finite(done, {"loss": self._loss, "gradient norm": result.grad_norm})
        read = start.consumed_samples + (done - start.step) * self._run.config.batch.global_batch_size
        self._state = replace(start, step=done, consumed_samples=read, read_fingerprint=self._read_fingerprint())
        speed = self._window_tokens / (time.perf_counter() - self._window_began)
        values: dict[str, Any] = {
            "loss": self._loss,
            "grad_norm": result.grad_norm,
            "lr": lr,
            "tokens_per_second": speed,
            "mfu": self._utilization.mfu(speed),
            "consumed_samples": self._state.consumed_samples,
            "read_fingerprint": self._state.read_fingerprint,
        }
        self._metrics.log_step(done, values)

    def _validate(self, done: int) -> None:
        config, data = self._run.config, self._run.data.valid
        if data is None:
            return
        self._validation = validate(
            self._engine,
            data.dataset,
            config.batch.micro_batch_size,
            config.validation.max_samples,
            data.bytes_per_token,
        )
        self._metrics.log_validation(done, self._validation)
        self._refuse_non_finite(done, {"validation loss": self._validation.loss})

    def _save(self) -> None:
        self._engine.heartbeat.at("checkpoint")
        last = last_fingerprint(self._loader.dataset, self._state.consumed_samples)
        state = replace(self._state, last_fingerprint=last, mix=mix_record(self._run.config))
        self._checkpoint = save_checkpoint(self._engine, self._run.config, self._run.ds_config, self._run.folder, state)
        self._metrics.log_event(state.step, "checkpoint", f"saved {self._checkpoint}")

    def _read_fingerprint(self) -> str:
        """Of all samples read since step 0: each data rank counted once."""
        engine, before = self._engine, int(self._run.start.read_fingerprint, 16)
        counts = engine.has_loss and engine.mesh.context_rank == 0
        own = torch.tensor(self._loader.fingerprint if counts else 0, dtype=torch.int64, device=engine.device)
        return f"{(int(engine.total(own)) + before) % MODULUS:010x}"

    def _refuse_non_finite(self, step: int, values: dict[str, float]) -> None:
        if not all(map(math.isfinite, values.values())):
            found = ", ".join(f"{name} {value}" for name, value in values.items())
            begin = "resume from the last checkpoint" if checkpoints(self._run.folder) else "start again"
            raise DivergenceError(
                f"step {step}: {found}: training has diverged; {begin} with a lower optimizer.lr or a longer "
                f"schedule.warmup_steps"
            )
