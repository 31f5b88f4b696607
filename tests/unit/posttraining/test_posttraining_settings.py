"""The two config files of a post-training run, and the model folder: mistakes are one line that says where."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from chats import conversation, run_values, write_rows
from safetensors.torch import save_file

from megalite.config.errors import ConfigError, DataError
from megalite.huggingface.check_folder import check_model_folder
from megalite.posttraining import preferences, sft
from megalite.posttraining.model.folder import load_config_and_tokenizer
from megalite.posttraining.model.lora import check_architecture
from megalite.posttraining.preferences import check_method, full_batches
from megalite.posttraining.run.arguments import training_arguments, weight_options
from megalite.posttraining.run.folder import mark_complete, resume_point
from megalite.posttraining.schema import PreferenceRun, SftRun
from megalite.posttraining.settings import Settings, deepspeed_dict, read_settings

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    rows = write_rows(tmp_path / "rows.jsonl", [{"messages": conversation(seed)} for seed in range(20)])
    path = tmp_path / "sft.yaml"
    path.write_text(yaml.safe_dump(run_values(tmp_path, tmp_path / "model", rows)))
    return path


def settings(yaml_file: Path, ds_config: Path | None, *overrides: str) -> Settings[SftRun]:
    json_flag = [] if ds_config is None else ["--ds_config", str(ds_config)]
    return read_settings(SftRun, "", ["--config", str(yaml_file), *json_flag, *overrides])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=1", r"unknown key 'optimizer.learning_rate'"),
        ("data.paking=true", r"unknown key 'data.paking'; did you mean 'data.packing'\?"),
        ("training.epochs=1", "give either steps or epochs"),
        ("data.valid=[a.jsonl]", None),
        ("schedule.warmup_steps=9", "schedule.warmup_steps=9 is more than training.steps=4"),
        ("batch.global_batch_size=6", "batch.global_batch_size=6 is not a multiple of batch.micro_batch_size=4"),
        ("lora.rank=0", "lora.rank=0"),
        ("training.precision=fp16", "training.precision='fp16'"),
    ],
)
def test_the_yaml_is_checked_as_pretrainings(yaml_file: Path, override: str, message: str | None) -> None:
    if message is None:
        assert settings(yaml_file, None, override).config.data.valid == ("a.jsonl",)
        return
    with pytest.raises(ConfigError, match=message):
        settings(yaml_file, None, override)


@pytest.mark.parametrize(
    ("json_values", "message"),
    [
        ({"train_batch_size": 4}, r"train_batch_size=4 contradicts .*sft\.yaml: batch\.global_batch_size=8"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}, r"optimizer\.params\.lr=0\.0001 contradicts"),
        ({"gradient_clipping": 0.5}, r"gradient_clipping=0\.5 contradicts .*optimizer\.gradient_clipping=1\.0"),
        ({"scheduler": {"type": "WarmupLR"}}, "the YAML's 'schedule' section owns the learning rate"),
        ({"zero_optimisation": {}}, "unknown key 'zero_optimisation'; did you mean 'zero_optimization'"),
        (
            {"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": False}},
            "could not write its Hugging Face folder",
        ),
    ],
)
def test_a_fact_in_both_files_names_both_places(
    yaml_file: Path, tmp_path: Path, json_values: dict[str, Any], message: str
) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(json_values))
    with pytest.raises(ConfigError, match=message):
        deepspeed_dict(settings(yaml_file, path), 32)


def test_every_shipped_json_merges_with_the_run(yaml_file: Path) -> None:
    for path in sorted((REPOSITORY / "ds_configs").glob("zero[123]*.json")):
        merged = deepspeed_dict(settings(yaml_file, path), 32)
        assert merged is not None and merged["gradient_accumulation_steps"] == 2 and merged["gradient_clipping"] == 1.0
        assert merged["zero_optimization"].get("stage3_param_persistence_threshold") in (None, 320)


@pytest.mark.parametrize(("schema", "name"), [(SftRun, "sft.yaml"), (PreferenceRun, "dpo.yaml")])
def test_the_shipped_yaml_is_a_run_under_every_json(schema: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for path in sorted((REPOSITORY / "ds_configs").glob("zero[123]*.json")):
        run = read_settings(
            schema, "", ["--config", str(REPOSITORY / "examples/tiny" / name), "--ds_config", str(path)]
        )
        assert deepspeed_dict(run, 128) is not None and run.accumulation_steps == 2


def test_stage_0_is_plain_data_parallelism(yaml_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"zero0\.json: zero_optimization\.stage=0 .* leave out --ds_config"):
        deepspeed_dict(settings(yaml_file, REPOSITORY / "ds_configs/zero0.json"), 32)


def test_accelerates_own_deepspeed_settings_are_refused(yaml_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="name the JSON with --ds_config"):
        settings(yaml_file, None)


def test_the_arguments_say_what_the_yaml_says(yaml_file: Path) -> None:
    run = settings(
        yaml_file, None, "optimizer.betas=[0.8,0.9]", "optimizer.weight_decay=0.3", "batch.micro_batch_size=2"
    )
    given = training_arguments(run, None, has_valid=True)
    expected = {"learning_rate": 0.01, "adam_beta1": 0.8, "adam_beta2": 0.9, "weight_decay": 0.3, "max_grad_norm": 1.0}
    expected |= {"gradient_accumulation_steps": 4, "max_steps": 4, "bf16": False, "save_steps": 2, "seed": 3}
    assert {key: given[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("precision", "lora", "deepspeed", "dtype"),
    [
        ("fp32", None, True, "float32"),
        ("bf16", None, False, "float32"),  # autocast: the weights that are updated stay fp32
        ("bf16", None, True, "bfloat16"),  # DeepSpeed keeps fp32 masters
        ("bf16", {"rank": 2}, False, "bfloat16"),
    ],
)
def test_weights_that_are_updated_have_fp32_masters(
    tmp_path: Path, precision: str, lora: dict[str, int] | None, deepspeed: bool, dtype: str
) -> None:
    values = run_values(tmp_path, tmp_path, tmp_path, training={"precision": precision})
    config = SftRun.model_validate(values | {"lora": lora})
    assert weight_options(config, {} if deepspeed else None)["dtype"] == dtype


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, chat_model: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: is not a model folder \(it contains no config\.json\)$"):
        check_model_folder(str(tmp_path / "empty"))
    (tmp_path / "step-000010").mkdir()
    (tmp_path / "step-000010/hf").symlink_to(chat_model)
    with pytest.raises(DataError, match=r"did you mean .*step-000010/hf\?"):
        check_model_folder(str(tmp_path / "step-000010"))
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        check_model_folder(str(tmp_path / "none"))
    (tmp_path / "empty/config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(DataError, match=r"contains no \.safetensors weights"):
        check_model_folder(str(tmp_path / "empty"))
    (tmp_path / "empty/model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="is damaged") as raised:
        load_config_and_tokenizer(str(tmp_path / "empty"))
    assert "\n" not in str(raised.value)
    (tmp_path / "empty/config.json").write_text('{"model_type": "vit"}')
    save_file({}, tmp_path / "empty/model.safetensors")
    with pytest.raises(DataError, match="a 'vit' model, which does not generate text"):
        load_config_and_tokenizer(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"lora": {"target_modules": ["q_proj", "nope"]}},
            r"'nope' is not a linear layer .* a llama model has down_proj",
        ),
        ({"lora": {"target_modules": "lm_head"}}, "'lm_head' is not a linear layer that can be adapted"),
        ({"model": {"attention": "flash_attention_2"}}, r"model\.attention=flash_attention_2: not available"),
    ],
)
def test_layers_and_attention_that_are_not_there_are_refused(
    tmp_path: Path, chat_model: Path, sections: dict[str, Any], message: str
) -> None:
    from transformers import AutoConfig

    if "model" in sections and importlib.util.find_spec("flash_attn") is not None:
        pytest.skip("flash-attn is installed")
    config = SftRun.model_validate(run_values(tmp_path, chat_model, tmp_path, **sections))
    with pytest.raises(ConfigError, match=message):
        check_architecture(config, AutoConfig.from_pretrained(chat_model))
    good = run_values(tmp_path, chat_model, tmp_path, lora={"target_modules": ["q_proj", "v_proj"]})
    check_architecture(SftRun.model_validate(good), AutoConfig.from_pretrained(chat_model))


def test_a_model_without_a_tokenizer_is_one_line(tmp_path: Path, chat_model: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(chat_model / name)
    with pytest.raises(DataError, match="contains no tokenizer") as raised:
        load_config_and_tokenizer(str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("preference", "batch", "message"),
    [
        ({"method": "grpo", "generations": 3}, {}, "is not a multiple of preference.generations=3"),
        ({"method": "grpo", "max_new_tokens": 128}, {}, "leaves no room for a prompt"),
        ({"method": "kto"}, {"micro_batch_size": 1}, "KTO compares the rows of a batch"),
    ],
)
def test_what_a_method_cannot_do_is_refused(
    tmp_path: Path, preference: dict[str, Any], batch: dict[str, Any], message: str
) -> None:
    config = PreferenceRun.model_validate(run_values(tmp_path, tmp_path, tmp_path, preference=preference, batch=batch))
    with pytest.raises(ConfigError, match=message):
        check_method(Settings(config, "dpo.yaml", None, "none", None, False, 1))


def test_held_out_pairs_fill_whole_batches(tmp_path: Path) -> None:
    config = PreferenceRun.model_validate(run_values(tmp_path, tmp_path, tmp_path))
    run = Settings(config, "dpo.yaml", None, "none", None, False, 2)
    assert len(full_batches([{}] * 17, run)) == 16
    with pytest.raises(DataError, match="7 are fewer than one batch"):
        full_batches([{}] * 7, run)


@pytest.mark.parametrize("command", [sft.main, preferences.main])
def test_a_mistake_ends_with_2_and_one_line(command: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr("sys.argv", ["tool", "--config", "no.yaml"])
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert capfd.readouterr().err == ("megalite: error: no.yaml: no such config file; check the path\n")


def test_a_checkpoint_of_other_ranks_is_refused_under_deepspeed(tmp_path: Path) -> None:
    config = SftRun.model_validate(run_values(tmp_path, tmp_path, tmp_path))
    (tmp_path / "test/checkpoint-2").mkdir(parents=True)
    (tmp_path / "test/run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    mark_complete(tmp_path / "test/checkpoint-2", 2, world_size=2)
    assert resume_point(Settings(config, "y", {}, "j", "", False, 2)) == tmp_path / "test/checkpoint-2"
    with pytest.raises(ConfigError, match=r"written by 2 ranks .* which 4 ranks cannot read"):
        resume_point(Settings(config, "y", {}, "j", "", False, 4))
