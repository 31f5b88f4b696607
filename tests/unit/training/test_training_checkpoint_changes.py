"""What a resumed run is told to do otherwise than before, and what it may not do otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from megalite.config.ds_config import merge_ds_config
from megalite.config.errors import ConfigError
from megalite.config.grid import grid_shape
from megalite.config.schema import RunConfig
from megalite.data.samples.history import mix_record
from megalite.model.hf_config import hf_config_from_model
from megalite.training.checkpoint.changes import changes
from megalite.training.checkpoint.training_state import TrainingState, check_epochs, resumed_state
from runs import checksums, run_config

ROPE = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ROPE["original_max_position_embeddings"] = 16


def merged(config: RunConfig, ranks: int, stage: int = 1) -> dict[str, Any]:
    json_config = {"zero_optimization": {"stage": stage}}
    return merge_ds_config(config, json_config, grid_shape(ranks, config.parallel), "yaml", "json")


def write_checkpoint(folder: Path, config: RunConfig, ranks: int = 1) -> Path:
    """The small files of a checkpoint at step 3."""
    (folder / "hf").mkdir(parents=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    (folder / "ds_config.json").write_text(json.dumps(merged(config, ranks)))
    batch = config.batch.global_batch_size
    seed, length = config.run.seed, config.data.sequence_length
    state = TrainingState(3, 3 * batch, seed, length, checksums(config), mix=mix_record(config))
    (folder / "state.json").write_text(json.dumps(vars(state)))
    (folder / "hf/config.json").write_text(json.dumps(hf_config_from_model(config.model, dtype="fp32")))
    return folder


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"optimizer": {"lr": 0.5}}, ["optimizer.lr was 0.01 and is now 0.5"]),
        ({"optimizer": {"weight_decay": 0.3}}, ["optimizer.weight_decay was 0.1 and is now 0.3"]),
        ({"optimizer": {"betas": [0.8, 0.95]}}, ["optimizer.betas.0 was 0.9 and is now 0.8"]),
        ({"schedule": {"decay": "linear"}}, ["schedule.decay was cosine and is now linear"]),
        ({"schedule": {"warmup_steps": 1}}, ["schedule.warmup_steps was 2 and is now 1"]),
        ({"training": {"steps": 9}}, ["training.steps was 6 and is now 9"]),
        ({"training": {"precision": "bf16"}}, ["training.precision was fp32 and is now bf16"]),
        ({"data": {"mask_documents": True}}, ["data.mask_documents was False and is now True"]),
        ({"batch": {"global_batch_size": 16}}, ["batch.global_batch_size was 8 and is now 16"]),
        ({"parallel": {"tensor_parallel_size": 2}}, ["parallel.tensor_parallel_size was 1 and is now 2"]),
        ({"run": {"name": "another"}, "logging": {"every_steps": 7}}, []),
    ],
)
def test_each_change_is_one_line(tmp_path: Path, sections: dict[str, Any], told: list[str]) -> None:
    checkpoint = write_checkpoint(tmp_path / "step-000003", run_config(tmp_path), ranks=2)
    config = run_config(tmp_path, **sections)
    assert changes(checkpoint, config, merged(config, 2)) == told
    assert resumed_state(checkpoint, run_config(tmp_path), checksums(config)).step == 3, "none of them is refused"


def test_ranks_and_the_zero_stage_are_told(tmp_path: Path) -> None:
    config = run_config(tmp_path, parallel={"tensor_parallel_size": 2})
    checkpoint = write_checkpoint(tmp_path / "step-000003", config, ranks=4)
    assert changes(checkpoint, config, merged(config, 4)) == []
    told = ["the number of ranks was 4 and is now 2", "DeepSpeed's zero_optimization.stage was 1 and is now 3"]
    assert changes(checkpoint, config, merged(config, 2, stage=3)) == told


def test_another_rope_is_refused_by_the_single_value(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "step-000003", run_config(tmp_path, model={"rope_parameters": ROPE}))
    config = run_config(tmp_path, model={"rope_parameters": ROPE | {"factor": 4.0}})
    with pytest.raises(ConfigError) as refused:
        resumed_state(checkpoint, config, checksums(config))
    words = "has model.rope_parameters.factor=8.0, the config has 4.0; make them equal to resume"
    assert str(refused.value) == f"{checkpoint}: {words}"


def test_another_global_batch_is_refused_if_the_mix_has_phases(tmp_path: Path) -> None:
    data = {"phases": [{"begin": 4, "weights": {str(tmp_path / "train"): 1.0}}]}
    config = run_config(tmp_path, data=data)
    checkpoint = write_checkpoint(tmp_path / "step-000003", config)
    with pytest.raises(
        ConfigError, match=r"has read 24 samples in 3 steps, and batch\.global_batch_size=16 would move"
    ):
        resumed_state(checkpoint, run_config(tmp_path, data=data, batch={"global_batch_size": 16}), checksums(config))


def test_epochs_are_counted_again_with_another_global_batch(tmp_path: Path) -> None:
    """200 tokens, 16 a sample: 4 epochs are 50 samples; 24 are read."""
    tokens = {str(tmp_path / "train"): 200}
    state = TrainingState(3, 24, 5, 16, {})
    check_epochs(run_config(tmp_path), state, tokens)
    with pytest.raises(ConfigError, match="epochs"):
        check_epochs(run_config(tmp_path, batch={"global_batch_size": 16}), state, tokens)
