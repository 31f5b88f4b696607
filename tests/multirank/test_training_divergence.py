"""A run that diverges ends at once, with its step and a remedy; what was saved before stands."""

from pathlib import Path

import pytest
import torch

from megalite.config.ds_config import merge_ds_config
from megalite.data.gpt_dataset import GPTDataset
from megalite.data.loader import BatchLoader
from megalite.parallel.mesh import Mesh
from megalite.parity.ranks import RankError, run_on_ranks
from megalite.training.checkpoint_state import TrainingState
from megalite.training.engine import Engine
from megalite.training.loop import Reckoning, train
from megalite.training.metrics import Metrics
from megalite.training.run_folder import checkpoints
from runs import run_config, write_data


def diverge(folder: Path) -> None:
    mesh = Mesh.create()
    config = run_config(folder, checkpoint={"every_steps": 2})
    ds_config = merge_ds_config(config, {"zero_optimization": {"stage": 1}}, mesh.shape, "yaml", "json")
    engine = Engine(config, ds_config, mesh, torch.device("cpu"))
    dataset = GPTDataset(config.data.train[0].prefix, config.data.sequence_length, config.run.seed)
    loader = BatchLoader(dataset, 2, 8, mesh.data_rank, mesh.data_size)
    run = folder / "run"
    run.mkdir(exist_ok=True)
    plain_step = engine.train_step

    def poisoned(batches, lr):
        if engine.deepspeed.global_steps == 3:
            with torch.no_grad():
                engine.named_parameters[0][1].fill_(float("nan"))
        return plain_step(batches, lr)

    engine.train_step = poisoned
    start = TrainingState(0, 0, config.run.seed, config.data.sequence_length, {})
    with Metrics(run, config.training.steps, 0, torch.distributed.get_rank() == 0, tensorboard=False) as metrics:
        train(engine, config, ds_config, loader, None, start, run, Reckoning(1.0, 1.0), metrics)


def test_a_diverged_run_stops_at_its_step_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    write_data(tmp_path)
    with pytest.raises(RankError, match=r"(?s)DivergenceError: step 4: loss nan.*resume from the last checkpoint"):
        run_on_ranks(diverge, 2, tmp_path)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-000002"]
