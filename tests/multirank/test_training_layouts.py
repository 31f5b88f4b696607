"""A checkpoint knows nothing of the layout that wrote it: it resumes under any other, and its files are the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from megalite.config.ds_config import merge_ds_config
from megalite.config.errors import ConfigError
from megalite.data.samples.gpt_dataset import GPTDataset, SequentialDataset
from megalite.parallel.mesh import Mesh
from megalite.parity.case import Case
from megalite.parity.launch import run_on_ranks
from megalite.parity.on_ranks import engine_of, own_batches
from megalite.training.checkpoint.load import load_checkpoint
from megalite.training.checkpoint.save import save_checkpoint
from megalite.training.checkpoint.training_state import TrainingState, check_data_order, resumed_state
from megalite.training.pipeline_engine import build_engine
from megalite.training.validation import validate
from runs import checksums, records, run_config, train_case, write_data

LAYOUTS = [
    "p2 d2 t2 sp zero1",
    "d2 zero3",
    "t4 zero0",
    "d2 c2 t2 sp zero3",
    "p2 c2 zero0",
    "d4 zero2",
    "t2 zero1",
]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that trains six steps, with a checkpoint in the middle."""
    folder = tmp_path_factory.mktemp("straight")
    write_data(folder)
    train_case(folder, "one", "d1 zero0")
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_resumes_under_any_layout_and_back(straight: Path, layout: str) -> None:
    """Written by one process and resumed by the layout, and the other way round; all read the same samples."""
    away, own, back = (f"{layout.replace(' ', '-')}-{name}" for name in ("away", "own", "back"))
    train_case(straight, away, layout, straight / "one" / "step-000003")
    train_case(straight, own, layout)
    train_case(straight, back, "d1 zero0", straight / own / "step-000003")
    expected = records(straight / "one")
    for name in (away, back):
        got = records(straight / name)
        for step in (4, 5, 6):
            assert got[step] == pytest.approx(expected[step], rel=1e-5)
    states = [
        json.loads((straight / name / "step-000006" / "state.json").read_text()) for name in ("one", away, own, back)
    ]
    assert int(states[0]["read_fingerprint"], 16) > 0
    assert len({(state["read_fingerprint"], state["last_fingerprint"]) for state in states}) == 1


def load_and_save(folder: Path, layout: str, checkpoint: Path, run: Path) -> None:
    engine, ds_config = engine_of(run_config(folder), Case.parse(layout))
    config = engine.config
    state = resumed_state(checkpoint, config, checksums(config))
    load_checkpoint(engine, config, checkpoint, state)
    run.mkdir(exist_ok=True)
    save_checkpoint(engine, config, ds_config, run, state, max_shard_bytes=20_000)


def files_saved_by(layout: str, straight: Path, run: Path) -> dict[str, Any]:
    """The manifest's tensor files of a checkpoint that the layout has loaded and saved again."""
    checkpoint = straight / "one" / "step-000003"
    run_on_ranks(load_and_save, Case.parse(layout).world_size, straight, layout, checkpoint, run)
    files = json.loads((run / "step-000003" / "manifest.json").read_text())["files"]
    return {name: facts for name, facts in files.items() if name.startswith(("hf/", "optimizer/"))}


@pytest.fixture(scope="module")
def files_of_one_process(straight: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return files_saved_by("d1 zero0", straight, tmp_path_factory.mktemp("saved"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_has_the_same_bytes_under_every_layout(
    straight: Path, files_of_one_process: dict[str, Any], tmp_path: Path, layout: str
) -> None:
    assert len(files_of_one_process) > 10
    assert files_saved_by(layout, straight, tmp_path / "run") == files_of_one_process


def losses_of_validation(folder: Path, layout: str, split: list[int] | None) -> tuple[float, int]:
    case = Case.parse(layout)
    config = case.config(run_config(folder, model={"num_hidden_layers": 3}))
    config = config.model_copy(update={"parallel": config.parallel.model_copy(update={"pipeline_split": split})})
    mesh = Mesh.create(config.parallel)
    ds_config = merge_ds_config(config, {"zero_optimization": {"stage": case.zero_stage}}, mesh.shape, "yaml", "json")
    engine = build_engine(config, ds_config, mesh, torch.device("cpu"))
    dataset, losses = SequentialDataset(str(folder / "train"), 16), []
    for step in range(2):  # evaluation between the steps of training, with a last round that is not full
        losses.append(validate(engine, dataset, config.batch.micro_batch_size, 21, 3.0))
        engine.train_step(own_batches(config, mesh, step), 1e-2)
    assert losses[0].tokens == 21 * 16
    assert losses[0].loss != losses[1].loss
    return losses[0].loss, losses[1].loss


@pytest.mark.parametrize("features", ["", "documents"])
def test_validation_equals_one_process_under_every_layout(straight: Path, features: str) -> None:
    expected = run_on_ranks(losses_of_validation, 1, straight, f"d1 zero0 {features}", None)[0]
    for layout, split in (
        ("p2 d2 zero1", [1, 2]),
        ("p2 t2 sp zero0", [2, 1]),
        ("c2 t2 zero3", None),
        ("p3 zero1", None),
    ):
        case = f"{layout} {features}"
        for got in run_on_ranks(losses_of_validation, Case.parse(case).world_size, straight, case, split):
            assert got == pytest.approx(expected, abs=1e-5)


def test_a_resume_that_would_read_other_samples_is_refused(straight: Path) -> None:
    checkpoint = straight / "one" / "step-000003"
    state = TrainingState(**json.loads((checkpoint / "state.json").read_text()))
    check_data_order(checkpoint, state, GPTDataset(str(straight / "train"), 16, 5))
    for other in (GPTDataset(str(straight / "train"), 16, 6), GPTDataset(str(straight / "train"), 8, 5)):
        with pytest.raises(ConfigError, match=r"the last samples before 24 had fingerprint"):
            check_data_order(checkpoint, state, other)
