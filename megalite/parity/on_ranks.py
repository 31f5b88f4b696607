"""Trains a case on the ranks of its layout; every rank compares all that it holds with the reference."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalite.config.ds_config import merge_ds_config
from megalite.config.schema import RunConfig
from megalite.parallel.mesh import Mesh
from megalite.parallel.slicing import join_slices, slicing_of
from megalite.parity.case import Case, step_data
from megalite.parity.reference import Trace
from megalite.training.checkpoint.state_access import MASTER_WEIGHT, read_tensor
from megalite.training.engine import Batch, Engine, StepResult
from megalite.training.optimizers.definition import StateTensor
from megalite.training.pipeline_engine import build_engine
from megalite.training.schedule import learning_rate


@dataclass(frozen=True)
class Errors:
    """How far a layout is from the reference."""

    loss: float
    """In nats, the maximum over the steps."""
    gradient: float
    """Maximum over all tensors of the largest difference, relative to the tensor's largest value."""
    norm: float
    """Relative, the maximum over the steps."""
    weight: float
    """Maximum over all tensors after the last step of the root mean square difference, relative to the sum of the learning
    rates, which is as far as Adam can move a weight."""
    worst_gradient: str = ""
    """Name of the tensor with the largest gradient error."""
    tensors: frozenset[str] = frozenset()
    """Names of all compared tensors."""

    def worst(self, other: "Errors") -> "Errors":
        """Returns the maximum of each error."""
        further = max(self, other, key=lambda errors: _nan_first(errors.gradient))
        pairs = {
            key: largest([getattr(self, key), getattr(other, key)]) for key in ("loss", "gradient", "norm", "weight")
        }
        return Errors(**pairs, worst_gradient=further.worst_gradient, tensors=self.tensors | other.tensors)


def compare_on_rank(
    base: RunConfig, case: Case, steps: int, reference: Path, sabotage: Callable[[], Any] | None = None
) -> Errors:
    """Trains ``steps`` steps as this rank of the case's layout.

    Args:
        reference: the folder of the reference's ``Trace``.
        sabotage: called first; tests break something with it that must be detected.
    """
    if sabotage is not None:
        sabotage()
    engine, _ = engine_of(base, case)
    config, mesh, expected = engine.config, engine.mesh, Trace.read(reference)
    losses, norms, gradients = [], [], {}
    for step in range(steps):
        lr = learning_rate(config.schedule, config.optimizer.lr, step, config.training.steps)
        result = engine.train_step(own_batches(config, mesh, step), lr)
        losses.append(float(engine.total(result.loss_sum.double())) / result.tokens)
        norms.append(result.grad_norm)
        if step == 0:
            gradients = {name: _first_gradient(engine, p, result) for name, p in engine.named_parameters}
    weights = {
        name: join_slices(read_tensor(engine.deepspeed, p, MASTER_WEIGHT), slicing_of(p))
        for name, p in engine.named_parameters
    }
    distances = {name: _distance(gradient, expected.gradients[name]) for name, gradient in gradients.items()}
    worst = max(distances, key=lambda name: _nan_first(distances[name]))
    return Errors(
        loss=largest(abs(got - wanted) for got, wanted in zip(losses, expected.losses, strict=True)),
        gradient=distances[worst],
        norm=largest(abs(got - wanted) / wanted for got, wanted in zip(norms, expected.norms, strict=True)),
        weight=largest(_rms(weight.cpu() - expected.weights[name]) for name, weight in weights.items())
        / sum(expected.rates),
        worst_gradient=worst,
        tensors=frozenset(weights),
    )


def largest(values: Iterable[float]) -> float:
    """Returns the maximum, or NaN if one value is NaN. Raises: ValueError if there are no values."""
    return max(values, key=_nan_first)


def engine_of(base: RunConfig, case: Case, **zero: Any) -> tuple[Engine, dict[str, Any]]:
    """Builds this rank's engine and its DeepSpeed config; ``zero`` adds keys to ``zero_optimization``."""
    config = case.config(base)
    mesh = Mesh.create(config.parallel)
    values = {"zero_optimization": {"stage": case.zero_stage, **zero}}
    ds_config = merge_ds_config(config, values, mesh.shape, "the run", "its layout")
    return build_engine(config, ds_config, mesh, torch.device("cpu")), ds_config


def own_batches(config: RunConfig, mesh: Mesh, step: int) -> list[Batch]:
    """Returns the micro-batches of this data rank, assigned as in ``megalite.data.samples.loader``."""
    batch = step_data(config, step)
    rows = torch.arange(config.batch.global_batch_size).view(-1, mesh.data_size, config.batch.micro_batch_size)
    return [{key: value[own] for key, value in batch.items()} for own in rows[:, mesh.data_rank]]


def _first_gradient(engine: Engine, parameter: nn.Parameter, result: StepResult) -> Tensor:
    """Returns the gradient before clipping: after one step Adam's first moment is (1 - beta1) times the clipped one."""
    settings = engine.config.optimizer
    moment = join_slices(read_tensor(engine.deepspeed, parameter, StateTensor("exp_avg")), slicing_of(parameter))
    clipped = max(1.0, result.grad_norm / settings.gradient_clipping) if settings.gradient_clipping else 1.0
    return moment.cpu() / (1 - settings.betas[0]) * clipped


def _nan_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _rms(difference: Tensor) -> float:
    return float(difference.double().square().mean().sqrt())


def _distance(got: Tensor, wanted: Tensor) -> float:
    return float((got.cpu() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
