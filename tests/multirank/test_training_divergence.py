"""A run that diverges ends at once on every rank, with its step and a remedy; what was saved before stands."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from megalite.config.errors import DivergenceError
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.loader import BatchLoader
from megalite.data.training_data import TrainingData
from megalite.model import head
from megalite.parity.case import Case
from megalite.parity.launch import run_on_ranks
from megalite.parity.on_ranks import engine_of
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.loop import TrainingLoop
from megalite.training.metrics import Metrics
from megalite.training.prepared_run import PreparedRun
from megalite.training.run_folder import checkpoints
from megalite.training.utilization import Utilization
from runs import run_config, write_data


class ExplodingGradient(torch.autograd.Function):
    """A loss as good as any, whose gradient is infinite."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * float("inf")


def diverge(folder: Path, layout: str, fault: str) -> str:
    """The message with which this rank ends; the fault happens in the fourth step, on the last rank alone."""
    config = run_config(folder, checkpoint={"every_steps": 2}, logging={"every_steps": 100})
    engine, ds_config = engine_of(config, Case.parse(layout))
    config, mesh = engine.config, engine.mesh
    rank = torch.distributed.get_rank()
    last = rank == torch.distributed.get_world_size() - 1
    plain = head.cross_entropy_sum

    def faulty(*args: Any) -> Tensor:
        loss = plain(*args)
        if not last or engine.heartbeat.step != 4:
            return loss
        return loss * float("nan") if fault == "loss" else ExplodingGradient.apply(loss)

    head.cross_entropy_sum = faulty  # type: ignore[assignment]
    dataset = GPTDataset(config.data.train[0].prefix, config.data.sequence_length, config.run.seed)
    sizes = (config.batch.micro_batch_size, config.batch.global_batch_size)
    loader = BatchLoader(dataset, *sizes, mesh.data_rank, mesh.data_size)
    run = folder / layout.replace(" ", "-") / fault
    run.mkdir(parents=True, exist_ok=True)
    start = TrainingState(0, 0, config.run.seed, config.data.sequence_length, {})
    with Metrics(run, config.training.steps, 0, rank == 0, tensorboard=False) as metrics:
        try:
            prepared = PreparedRun(config, ds_config, run, TrainingData(dataset, None, {}), start)
            TrainingLoop(engine, prepared, loader, Utilization(1.0, 1.0), metrics).train()
        except DivergenceError as error:
            return str(error)
    return "trained to its end"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("diverged")
    write_data(made)
    return made


@pytest.mark.parametrize("fault", ["loss", "gradient"])
@pytest.mark.parametrize(
    "layout", ["d2 zero0", "d2 zero1", "d2 zero2", "d2 zero3", "t2 zero0", "p2 zero0", "p2 zero1", "d2 zero1 bf16"]
)
def test_a_fault_of_one_rank_ends_all_and_keeps_the_checkpoint(layout: str, fault: str, folder: Path) -> None:
    for told in run_on_ranks(diverge, 2, folder, layout, fault):  # no rank is left waiting for the others
        assert told.startswith("step 4: loss ")
        assert "training has diverged; resume from the last checkpoint" in told
        assert ("loss nan" in told) <= (fault == "loss")
    assert [path.name for path in checkpoints(folder / layout.replace(" ", "-") / fault)] == ["step-000002"]
