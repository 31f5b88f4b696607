"""A DeepSpeed JSON whose values cannot be is refused before anything starts, by DeepSpeed's own models."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from megalite.config import deepspeed_keys
from megalite.config.ds_config import read_ds_config
from megalite.config.errors import ConfigError
from megalite.training.deepspeed_sections import SECTIONS, TopLevel
from megalite.training.deepspeed_values import MONITORS, _models, check_deepspeed_values

REPOSITORY = Path(__file__).parents[3]


def zero(stage: Any = 3, **keys: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": stage, **keys}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (zero(offload_optimizer={"device": "moon"}), "device='moon': input should be 'none', 'cpu' or 'nvme'"),
        (zero(offload_optimizer="cpu"), "offload_optimizer='cpu': this is a section"),
        (zero(offload_optimizer={"ratio": 1.5}), "ratio=1.5: must be at most 1"),
        (zero(offload_param={"device": "nvme"}), "'offload_param.nvme_path' is missing"),
        (zero(offload_param={"device": "nvme", "nvme_path": "/no/such"}), "nvme_path=/no/such: is not a folder"),
        (zero(offload_param={"device": "cpu", "pin_memory": "true"}), "pin_memory='true': expected true or false"),
        (zero(1, offload_param={"device": "cpu"}), r"offload_param.device=cpu with zero_optimization.stage=1"),
        (zero(0, offload_optimizer={"device": "cpu"}), r"offload_optimizer.device=cpu with zero_optimization.stage=0"),
        (zero(2, offload_optimizer={"device": "cpu", "ratio": 0.5}), "Partial offloading"),
        (zero(reduce_bucket_size=-5), "reduce_bucket_size=-5: input should be greater than 0"),
        (zero(reduce_bucket_size="5"), "reduce_bucket_size='5': expected a whole number"),
        (zero(reduce_bucket_size=5.5), "reduce_bucket_size=5.5: expected a whole number"),
        (zero(reduce_bucket_size=True), "reduce_bucket_size=true: expected a whole number"),
        (zero(sub_group_size=10**30), "at most 9,223,372,036,854,775,807"),
        (zero(overlap_comm="yes"), "overlap_comm='yes': expected true or false"),
        (zero("2"), "stage='2'"),
        (zero(1, compute_grad_norm=False), "every step logs the norm"),
        (zero(zenflow={"topk_ratio": 0.1}), "ZenFlow replaces the optimizer's step"),
        (zero(leaf_module={"class": ["a"]}), "did you mean 'zero_optimization.leaf_module.classes'"),
        ({"communication_data_type": "fp7"}, "communication_data_type='fp7': input should be 'fp32', 'fp16' or 'bf16'"),
        ({"flops_profiler": {"enabled": 1}}, "flops_profiler.enabled=1: expected true or false"),
        ({"flops_profiler": {"profile_step": -1}}, "profile_step=-1"),
        ({"aio": {"blok": 1}}, "unknown key 'aio.blok'"),
        ({"aio": {"block_size": "auto"}}, "block_size='auto': expected a whole number"),
        ({"aio": 3}, "aio=3: this is a section"),
        ({"timers": {"throughput": {"enabled": "x"}}}, "timers.throughput.enabled='x'"),
        ({"pipeline": {"pipe_partitioned": 1}}, "pipeline.pipe_partitioned=1"),
        ({"steps_per_print": 0}, "steps_per_print=0"),
        ({"log_level": "loud"}, "log_level='loud'"),
        ({"tensorboard": {"output_path": 3}}, "tensorboard.output_path=3: expected text"),
        ({"comet": {"enabeld": True}}, "did you mean 'comet.enabled'"),
        ({"activation_checkpointing": {"number_checkpoints": 0}}, "number_checkpoints=0"),
    ],
)
def test_a_value_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_deepspeed_values(values, "ds.json")
    assert str(caught.value).startswith("ds.json: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("monitor", ["wandb", "comet"])
def test_a_monitor_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch, monitor: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == MONITORS[monitor] else found(name))
    with pytest.raises(ConfigError, match=rf"{monitor}\.enabled=true needs the package {MONITORS[monitor]}"):
        check_deepspeed_values({monitor: {"enabled": True}}, "ds.json")
    check_deepspeed_values({monitor: {"enabled": False}}, "ds.json")


@pytest.mark.parametrize(
    "values",
    [
        zero(reduce_bucket_size=5e8, overlap_comm="auto", stage3_max_live_parameters=1e9, offload_optimizer=None),
        zero(offload_param={"device": "cpu", "pin_memory": True}),
        {"communication_data_type": "bf16", "gradient_predivide_factor": 2, "steps_per_print": 100},
        {"timers": {"throughput": {"enabled": False}}, "aio": {"queue_depth": 32}},
        *(read_ds_config(path) for path in sorted((REPOSITORY / "ds_configs").glob("*.json"))),
    ],
)
def test_what_deepspeeds_documentation_writes_is_accepted(values: dict[str, Any]) -> None:
    check_deepspeed_values(values, "ds.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fp16": True}, "'fp16' is true, not a section"),
        ({"bf16": {"bf16_master_weights_and_grads": True}}, r"unknown key 'bf16\.bf16_master_weights_and_grads'"),
        ({"optimizer": "AdamW"}, "'optimizer' is \"AdamW\", not a section"),
        ({"optimizer": {"params": {"momentum": 1}}}, r"unknown key 'optimizer\.params\.momentum'"),
        ({"zero_optimization": {"stage": "2"}}, "the ZeRO stages are 0, 1, 2 and 3"),
        ({"zero_optimization": {"stage": 2.0}}, "the ZeRO stages are 0, 1, 2 and 3"),
    ],
)
def test_a_fact_of_the_yaml_in_another_form_is_not_passed_over(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    import json

    file = tmp_path / "ds.json"
    file.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message):
        read_ds_config(file)


def test_every_key_of_the_table_has_a_type() -> None:
    """A key that is known but has no type would pass with any value."""
    typed = set(TopLevel.model_fields) | set(_models())
    assert typed == set(deepspeed_keys.WIRES)


def test_our_models_have_the_keys_that_deepspeed_looks_up() -> None:
    from deepspeed.profiling.config import DeepSpeedFlopsProfilerConfig
    from deepspeed.runtime.activation_checkpointing.config import ACT_CHKPT_DEFAULT
    from deepspeed.runtime.config import get_pipeline_config
    from deepspeed.runtime.swap_tensor.aio_config import AIO_DEFAULT_DICT
    from deepspeed.utils.config import DeepSpeedThroughputTimerConfig

    from megalite.training.deepspeed_sections import Throughput

    looked_up = {
        "flops_profiler": vars(DeepSpeedFlopsProfilerConfig({})),
        "activation_checkpointing": ACT_CHKPT_DEFAULT,
        "aio": AIO_DEFAULT_DICT,
        "pipeline": {**get_pipeline_config({}), "use_reentrant": True},
        "timers": {"throughput": {}},
    }
    assert looked_up.keys() == SECTIONS.keys()
    for name, keys in looked_up.items():
        assert set(SECTIONS[name].model_fields) == set(keys), name
    assert set(Throughput.model_fields) == set(DeepSpeedThroughputTimerConfig.model_fields)


@pytest.mark.parametrize("key", sorted(TopLevel.model_fields))
def test_a_top_level_key_of_another_type_is_refused(key: str) -> None:
    for value in ("text", [1], {"a": 1}, -1):
        with pytest.raises(ConfigError, match=key):
            check_deepspeed_values({key: value}, "ds.json")
