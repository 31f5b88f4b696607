import json
from pathlib import Path
from typing import Any

import pytest

from megalite.config.checks import accumulation_steps
from megalite.config.deepspeed_keys import COMMS_LOGGER, OFFLOAD_OPTIMIZER, OFFLOAD_PARAM, TENSORBOARD, WANDB, ZERO
from megalite.config.ds_config import merge_ds_config, read_ds_config
from megalite.config.errors import ConfigError
from megalite.config.grid import grid_shape
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    overrides = ["batch.global_batch_size=64", "batch.micro_batch_size=8", "optimizer.lr=2e-3", "model.hidden_size=256"]
    overrides.append("training.precision=bf16")
    return load_run_config(REPOSITORY / "examples/tiny/pretrain.yaml", overrides)


def merged(config: RunConfig, values: dict[str, Any]) -> dict[str, Any]:
    return merge_ds_config(config, values, grid_shape(2, config.parallel), "run.yaml", "ds.json")


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "ds.json"
    file.write_text(text)
    return read_ds_config(file)


def test_the_run_fills_in_what_it_owns(config: RunConfig) -> None:
    result = merged(config, {"zero_optimization": {"stage": 2}, "wall_clock_breakdown": True})
    assert result["train_micro_batch_size_per_gpu"] == 8
    assert result["gradient_accumulation_steps"] == 4
    assert result["gradient_clipping"] == 1.0
    assert result["bf16"] == {"enabled": True}
    assert result["data_types"] == {"grad_accum_dtype": "fp32"}
    assert result["wall_clock_breakdown"] is True
    assert result["zero_optimization"] == {"stage": 2}


def test_auto_and_equal_values_are_accepted(config: RunConfig) -> None:
    values = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": 8,
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": 1.0,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": False, "loss_scale": 0},
        "optimizer": {"type": "AdamW", "params": {"lr": 2e-3, "betas": [0.9, 0.95], "eps": "auto"}},
        "scheduler": "auto",
    }
    assert "optimizer" not in merged(config, values)


@pytest.mark.parametrize(
    ("values", "both_places"),
    [
        ({"gradient_clipping": 0.5}, ("ds.json: gradient_clipping=0.5", "run.yaml: optimizer.gradient_clipping")),
        ({"train_batch_size": 32}, ("train_batch_size=32", "batch.global_batch_size=64")),
        ({"gradient_accumulation_steps": 1}, ("gradient_accumulation_steps=1", "gives 4 on 2 data-parallel ranks")),
        ({"bf16": {"enabled": False}}, ("bf16.enabled=false", "training.precision")),
        ({"fp16": {"enabled": True}}, ("fp16.enabled=true", "training.precision")),
        ({"optimizer": {"type": "Lion"}}, ('optimizer.type="Lion"', "optimizer.name")),
        ({"optimizer": {"params": {"lr": 1.0}}}, ("optimizer.params.lr=1.0", "optimizer.lr=0.002")),
        ({"data_types": {"grad_accum_dtype": "bf16"}}, ("data_types.grad_accum_dtype", "fp32")),
        ({"scheduler": {"type": "WarmupLR"}}, ("ds.json: 'scheduler'", "run.yaml: the YAML's 'schedule'")),
    ],
)
def test_a_contradiction_names_both_places(
    config: RunConfig, values: dict[str, Any], both_places: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        merged(config, values)
    for place in both_places:
        assert place in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"gradient_clipp1ng": 1.0}', "unknown key 'gradient_clipp1ng'; did you mean 'gradient_clipping'"),
        ('{"zero_optimization": {"stage": 3, "stge": 2}}', "did you mean 'zero_optimization.stage'"),
        (
            '{"zero_optimization": {"offload_param": {"devise": "cpu"}}}',
            "did you mean 'zero_optimization.offload_param.d",
        ),
        ('{"zero_optimization": {"stage": 3, "stage": 2}}', "key 'stage' occurs twice"),
        ('{"zero_optimization": {"stage": 4}}', "the ZeRO stages are 0, 1, 2 and 3"),
        ('{"zero_optimization": {"stage": true}}', "the ZeRO stages are 0, 1, 2 and 3"),
        ('{"zero_optimization": 3}', "'zero_optimization' is 3, not a section"),
        ("[]", "contains a list"),
        ("{", "not readable as JSON"),
    ],
)
def test_a_json_that_deepspeed_would_misread_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_auto_bucket_sizes_follow_the_hidden_size(config: RunConfig) -> None:
    zero = {"stage": 3, "reduce_bucket_size": "auto", "stage3_param_persistence_threshold": "auto"}
    resolved = merged(config, {"zero_optimization": zero})["zero_optimization"]
    assert resolved == {"stage": 3, "reduce_bucket_size": 256 * 256, "stage3_param_persistence_threshold": 2560}


def test_bf16_at_stage_0_runs_by_autocast(config: RunConfig) -> None:
    assert merged(config, {})["bf16"] == {"enabled": False}


@pytest.mark.parametrize(("micro", "total", "ranks", "steps"), [(8, 64, 2, 4), (1, 1, 1, 1), (3, 12, 4, 1)])
def test_accumulation_is_the_global_batch_over_all_ranks(micro: int, total: int, ranks: int, steps: int) -> None:
    assert accumulation_steps(micro, total, ranks) == steps


def test_a_batch_that_does_not_divide_shows_the_arithmetic() -> None:
    with pytest.raises(ConfigError, match=r"global_batch_size=10 .*micro_batch_size=4 x 2 .* = 8; use 8 or 16"):
        accumulation_steps(4, 10, 2)


def test_every_shipped_deepspeed_config_is_accepted(config: RunConfig) -> None:
    shipped = sorted((REPOSITORY / "ds_configs").glob("*.json"))
    assert {path.stem for path in shipped} >= {"zero0", "zero1", "zero2", "zero3", "zero3_offload"}
    for path in shipped:
        result = merged(config, read_ds_config(path))
        assert json.loads(json.dumps(result)) == result


def test_the_key_tables_equal_the_installed_deepspeed() -> None:
    from deepspeed.comm.config import CommsLoggerConfig
    from deepspeed.monitor.config import TensorBoardConfig, WandbConfig
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.offload_config import (
        DeepSpeedZeroOffloadOptimizerConfig,
        DeepSpeedZeroOffloadParamConfig,
    )

    tables = {
        DeepSpeedZeroConfig: ZERO,
        DeepSpeedZeroOffloadOptimizerConfig: OFFLOAD_OPTIMIZER,
        DeepSpeedZeroOffloadParamConfig: OFFLOAD_PARAM,
        TensorBoardConfig: TENSORBOARD,
        WandbConfig: WANDB,
        CommsLoggerConfig: COMMS_LOGGER,
    }
    for schema, table in tables.items():
        assert {field.alias or name for name, field in schema.model_fields.items()} == set(table), schema.__name__


def test_pipeline_stages_send_whole_activations_under_sp(config: RunConfig) -> None:
    values = config.model_dump() | {"parallel": {"tensor_parallel_size": 2, "sequence_parallel": True}}
    split = RunConfig.model_validate(values)
    assert merged(split, {})["pipeline"] == {"pipe_partitioned": False, "grad_partitioned": False}
    assert "pipeline" not in merged(config, {})
    with pytest.raises(
        ConfigError, match=r"ds\.json: pipeline\.pipe_partitioned=true contradicts run\.yaml: parallel\.seq"
    ):
        merged(split, {"pipeline": {"pipe_partitioned": True}})
