"""SFT under ZeRO-3 on two ranks equals one process, and goes on where it was stopped."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from chats import conversation, run_values, write_model, write_rows
from safetensors.torch import load_file

from megalite.config.ds_config import read_ds_config
from megalite.parity.launch import run_on_ranks

ZERO3 = Path(__file__).parents[2] / "ds_configs/zero3.json"
SECTIONS: dict[str, Any] = {"data": {"valid_fraction": 0.2}, "batch": {"micro_batch_size": 2}}


def losses_of_a_run(
    folder: Path, model: Path, rows: Path, world: int, zero3: bool, resume: str | None
) -> dict[str, Any]:
    from megalite.posttraining.schema import SftRun
    from megalite.posttraining.settings import Settings
    from megalite.posttraining.sft import fine_tune

    config = SftRun.model_validate(run_values(folder, model, rows, **SECTIONS))
    ds_config = read_ds_config(ZERO3) if zero3 else None
    reporter = fine_tune(Settings(config, "run.yaml", ds_config, str(ZERO3), resume, False, world))
    return {"train": reporter.losses, "first": reporter.first["loss"], "last": reporter.last["loss"]}


@pytest.mark.timeout(400)
def test_zero3_on_two_ranks_equals_one_process_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    model = write_model(tmp_path / "model")
    rows = write_rows(tmp_path / "chat.jsonl", [{"messages": conversation(seed)} for seed in range(40)])
    one = losses_of_a_run(tmp_path / "one", model, rows, 1, False, None)
    two = run_on_ranks(losses_of_a_run, 2, tmp_path / "two", model, rows, 2, True, None, timeout_seconds=200)[0]
    assert list(one["train"]) == [1, 2, 3, 4]
    assert two["train"] == pytest.approx(one["train"], rel=2e-5)
    assert (two["first"], two["last"]) == pytest.approx((one["first"], one["last"]), rel=2e-5)
    trained, sharded = (load_file(tmp_path / name / "test/hf/model.safetensors") for name in ("one", "two"))
    assert set(trained) == set(sharded)
    for name, tensor in trained.items():
        torch.testing.assert_close(sharded[name], tensor, atol=2e-5, rtol=1e-4)

    stopped = tmp_path / "stopped" / "test"
    shutil.copytree(tmp_path / "two/test", stopped, ignore=shutil.ignore_patterns("hf", "checkpoint-4"))
    resumed = run_on_ranks(losses_of_a_run, 2, tmp_path / "stopped", model, rows, 2, True, "", timeout_seconds=200)[0]
    assert resumed["train"] == {step: two["train"][step] for step in (3, 4)}
    again = load_file(stopped / "hf/model.safetensors")
    assert all(torch.equal(again[name], sharded[name]) for name in sharded)
