"""The loop with an engine that only counts and a clock that only it moves: what is logged, saved, refused, and when."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from megalite.config.errors import DivergenceError, Stopped
from megalite.config.schema import RunConfig
from megalite.data.samples.fingerprint import MODULUS
from megalite.training import loop
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.engine import StepResult
from megalite.training.loop import Outcome, TrainingLoop
from megalite.training.metrics import Metrics
from megalite.training.prepared_run import PreparedRun
from megalite.training.save_or_stop import Request, Requests
from megalite.training.supervision.heartbeat import Heartbeat
from megalite.training.utilization import Utilization
from megalite.training.validation import ValidationResult
from runs import run_config

READ, STEP, VALIDATE, SAVE = 0.5, 2.0, 100.0, 1000.0
"""Seconds of each."""
RANKS = 2
"""Every sum over ranks is twice this one's."""


class Job:
    """Engine, loader and clock of a run that trains nothing; ``calls`` is what the loop has asked for, in order."""

    def __init__(self, config: RunConfig) -> None:
        self.config, self.now, self.calls = config, 7000.0, []
        self.heartbeat, self.mesh, self.device = Heartbeat(), SimpleNamespace(context_rank=0), torch.device("cpu")
        self.has_loss, self.fingerprint, self.dataset = True, 0, "the dataset"
        self.losses: dict[int, float] = {}
        self.norms: dict[int, float] = {}
        self.validation_losses: dict[int, float] = {}
        self.rates: list[float] = []
        self.step = 0

    def perf_counter(self) -> float:
        return self.now

    def step_batches(self, consumed: int) -> int:
        self.now += READ
        self.fingerprint += 10
        return consumed

    def train_step(self, consumed: int, lr: float) -> StepResult:
        """Step s has 100 * s tokens and the loss 1/s a token."""
        self.now += STEP
        self.step = consumed // self.config.batch.global_batch_size + 1
        self.rates.append(lr)
        self.calls.append(("step", self.step))
        tokens = 100 * self.step
        loss = self.losses.get(self.step, 1 / self.step)
        return StepResult(torch.tensor(loss * tokens / RANKS), tokens, self.norms.get(self.step, 0.5 * self.step))

    def total(self, value: Tensor) -> Tensor:
        return value * RANKS

    def validate(self, engine: Any, dataset: Any, micro: int, most: int | None, bytes_per_token: float) -> Any:
        assert (engine, dataset, micro, most, bytes_per_token) == (self, "valid", 2, 21, 3.0)
        self.now += VALIDATE
        self.calls.append(("validate", self.step))
        return ValidationResult(self.validation_losses.get(self.step, 5.0 - self.step), 0.25 * self.step, 70)

    def save_checkpoint(
        self, engine: Any, config: RunConfig, ds_config: Any, run: Path, state: TrainingState, *rest: Any
    ) -> Path:
        self.now += SAVE
        self.calls.append(("save", state))
        return run / f"step-{state.step:06d}"


VALID = SimpleNamespace(dataset="valid", bytes_per_token=3.0)


def run_job(
    job: Job,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: TrainingState | None = None,
    valid: Any = VALID,
    requests: Requests | None = None,
) -> Outcome:
    monkeypatch.setattr(loop, "validate", job.validate)
    monkeypatch.setattr(loop, "save_checkpoint", job.save_checkpoint)
    monkeypatch.setattr(loop, "last_fingerprint", lambda dataset, consumed: f"{dataset} before {consumed}")
    monkeypatch.setattr(loop.time, "perf_counter", job.perf_counter)
    start = start or TrainingState(0, 0, 5, 16, {"train": "checksum"})
    everyone: Any = job
    data: Any = SimpleNamespace(valid=valid)
    run = PreparedRun(job.config, {}, folder, data, start)
    with Metrics(folder, job.config.training.steps, start.step, True, tensorboard=False) as metrics:
        return TrainingLoop(everyone, run, everyone, Utilization(6.0, 480.0), metrics, requests).train()


def logged(folder: Path, event: str) -> dict[int, Any]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line for line in lines if line["event"] == event}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Ten steps of 8 samples: logs every 3, saves every 5, validates every 4."""
    return Job(
        run_config(
            tmp_path,
            optimizer={"lr": 0.9},
            schedule={"warmup_steps": 2, "decay": "linear", "min_lr_ratio": 0.3},
            training={"steps": 10},
            logging={"every_steps": 3},
            checkpoint={"every_steps": 5},
            validation={"every_steps": 4, "max_samples": 21},
        )
    )


def test_steps_validations_and_saves_come_in_their_order(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_job(job, tmp_path, monkeypatch)
    saves = [state for kind, state in job.calls if kind == "save"]
    order = [(kind, what if isinstance(what, int) else what.step) for kind, what in job.calls]
    expected = [("step", n) for n in range(1, 11)]
    for place, call in ((4, ("validate", 4)), (6, ("save", 5)), (10, ("validate", 8))):
        expected.insert(place, call)
    assert order == [*expected, ("validate", 10), ("save", 10)]
    assert [(state.step, state.consumed_samples) for state in saves] == [(5, 40), (10, 80)]
    assert [state.last_fingerprint for state in saves] == ["the dataset before 40", "the dataset before 80"]
    assert [int(state.read_fingerprint, 16) for state in saves] == [5 * 10 * RANKS, 10 * 10 * RANKS]
    assert outcome.checkpoint == tmp_path / "step-000010"
    assert outcome.loss == pytest.approx(0.1)
    assert outcome.validation == ValidationResult(-5.0, 2.5, 70)
    assert outcome.tokens == 100 * sum(range(1, 11))
    assert outcome.seconds == 10 * (READ + STEP) + 3 * VALIDATE + 2 * SAVE


def test_every_step_is_trained_with_its_own_rate(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job, tmp_path, monkeypatch)
    assert job.rates == pytest.approx([0.3, 0.6, 0.9, 0.81, 0.72, 0.63, 0.54, 0.45, 0.36, 0.27])
    shown = {step: line["lr"] for step, line in logged(tmp_path, "train").items()}
    assert shown == pytest.approx({3: 0.9, 5: 0.72, 6: 0.63, 9: 0.36, 10: 0.27})


def test_what_is_logged_is_what_happened(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job, tmp_path, monkeypatch)
    trained = logged(tmp_path, "train")
    assert list(trained) == [3, 5, 6, 9, 10]  # every third, and each that is saved
    for step, line in trained.items():
        assert line["loss"] == pytest.approx(1 / step)  # the sum over all ranks by the tokens of all
        assert line["grad_norm"] == 0.5 * step
        assert line["consumed_samples"] == 8 * step
    valid = logged(tmp_path, "valid")
    assert {step: (line["loss"], line["bits_per_byte"]) for step, line in valid.items()} == {
        4: (1.0, 1.0),
        8: (-3.0, 2.0),
        10: (-5.0, 2.5),
    }
    assert list(logged(tmp_path, "checkpoint")) == [5, 10]


def test_tokens_per_second_count_since_the_last_line(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job, tmp_path, monkeypatch)
    a_step = READ + STEP
    expected = {
        3: (100 + 200 + 300) / (3 * a_step),
        5: 500 / a_step,  # step 4 was validated: neither its tokens nor that time count
        6: 600 / a_step,
        9: 900 / a_step,
        10: 1000 / a_step,
    }
    trained = logged(tmp_path, "train")
    assert {step: line["tokens_per_second"] for step, line in trained.items()} == pytest.approx(expected)
    assert trained[3]["mfu"] == pytest.approx(expected[3] * 6.0 / 480.0)


def test_a_given_peak_stays_and_a_measured_one_grows() -> None:
    named, measured = Utilization(6.0, 480.0), Utilization(6.0, 480.0, is_measured=True)
    speeds = (40.0, 160.0, 80.0)
    assert [named.mfu(speed) for speed in speeds] == pytest.approx([0.5, 2.0, 1.0])
    assert [measured.mfu(speed) for speed in speeds] == pytest.approx([0.5, 1.0, 0.5])


def test_a_resumed_run_goes_on_where_it_stopped(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = TrainingState(6, 48, 5, 16, {}, read_fingerprint=f"{MODULUS - 1:010x}")
    outcome = run_job(job, tmp_path, monkeypatch, start)
    assert [step for kind, step in job.calls if kind == "step"] == [7, 8, 9, 10]
    assert job.rates == pytest.approx([0.54, 0.45, 0.36, 0.27])
    assert outcome.tokens == 700 + 800 + 900 + 1000
    (saved,) = [state for kind, state in job.calls if kind == "save"]
    assert (saved.step, saved.consumed_samples) == (10, 80)
    assert int(saved.read_fingerprint, 16) == 4 * 10 * RANKS - 1  # added to what was read before, modulo 2^40
    assert saved.seed == start.seed


def test_only_one_context_rank_tells_what_it_has_read(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.mesh.context_rank = 1
    run_job(job, tmp_path, monkeypatch)
    assert int(logged(tmp_path, "train")[10]["read_fingerprint"], 16) == 0


def test_without_validation_data_there_is_none(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_job(job, tmp_path, monkeypatch, valid=None).validation is None
    assert {kind for kind, _ in job.calls} == {"step", "save"}


@pytest.mark.parametrize("during", ["step", "validate", "save"])
def test_a_request_to_stop_ends_the_run_with_a_save_of_its_step(
    during: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests()

    def with_signal(*args: Any, plain: Any) -> Any:
        if job.step >= 4:
            requests.ask(Request.STOP, "SIGUSR1", 10)
        return plain(*args)

    name = {"step": "step_batches", "validate": "validate", "save": "save_checkpoint"}[during]
    monkeypatch.setattr(job, name, partial(with_signal, plain=getattr(job, name)))
    with pytest.raises(
        Stopped, match=r"stopped by SIGUSR1; all . steps are saved in .*: resume with --resume"
    ) as stopped:
        run_job(job, tmp_path, monkeypatch, requests=requests)
    saved = [state.step for kind, state in job.calls if kind == "save"]
    last = {"step": 5, "validate": 4, "save": 5}[during]
    assert (job.step, saved, stopped.value.code) == (last, [last], 138)
    assert list(logged(tmp_path, "stop")) == [last]


def test_a_request_to_save_saves_once_and_the_run_goes_on(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests()
    requests.ask(Request.SAVE)
    requests.ask(Request.SAVE)
    run_job(job, tmp_path, monkeypatch, requests=requests)
    assert [state.step for kind, state in job.calls if kind == "save"] == [1, 5, 10]
    assert list(logged(tmp_path, "train")) == [1, 3, 5, 6, 9, 10], "what is saved is logged"


BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("bad", BAD)
def test_a_non_finite_loss_ends_the_run_at_a_logged_step(
    bad: float, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.losses = dict.fromkeys(range(4, 11), bad)  # as weights that are not finite stay so
    with pytest.raises(DivergenceError, match=rf"step 5: loss {bad}, gradient norm 2\.5: training has diverged"):
        run_job(job, tmp_path, monkeypatch)
    assert [kind for kind, _ in job.calls if kind == "save"] == []
    assert list(logged(tmp_path, "train")) == [3]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("step", [1, 4, 5, 10])
def test_a_non_finite_norm_ends_the_run_at_its_step(
    step: int, bad: float, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.norms = {step: bad}
    with pytest.raises(DivergenceError, match=rf"step {step}: loss .*, gradient norm {bad}: training has diverged"):
        run_job(job, tmp_path, monkeypatch)
    assert job.step == step
    assert [state.step for kind, state in job.calls if kind == "save"] == ([5] if step > 5 else [])


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("step", [4, 8, 10])
def test_a_non_finite_validation_loss_is_not_saved(
    step: int, bad: float, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.validation_losses = {step: bad}
    with pytest.raises(DivergenceError, match=rf"step {step}: validation loss {bad}: training has diverged"):
        run_job(job, tmp_path, monkeypatch)
    assert job.step == step
    assert [state.step for kind, state in job.calls if kind == "save"] == ([5] if step > 5 else [])
    assert step in logged(tmp_path, "valid"), "the figure that has ended it is in the log"


def test_the_position_of_the_run_is_told_to_the_watch(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str]] = []
    plain_read, plain_save = job.step_batches, job.save_checkpoint

    def read(consumed: int) -> int:
        seen.append((job.heartbeat.step, job.heartbeat.phase))
        return plain_read(consumed)

    def save(*args: Any) -> Path:
        seen.append((job.heartbeat.step, job.heartbeat.phase))
        return plain_save(*args)

    monkeypatch.setattr(job, "step_batches", read)
    monkeypatch.setattr(job, "save_checkpoint", save)
    run_job(job, tmp_path, monkeypatch)
    expected = [(step, "reading") for step in range(1, 11)]
    expected.insert(5, (5, "checkpoint"))
    assert seen == [*expected, (10, "checkpoint")]
