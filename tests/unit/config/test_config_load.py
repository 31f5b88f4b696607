import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from megalite.config.errors import ConfigError
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.config.section import Section

REPOSITORY = Path(__file__).parents[3]
VALUES: dict[str, Any] = {
    "run": {"name": "test"},
    "model": {
        "vocab_size": 128,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "data": {"train": "a", "tokenizer": "t", "sequence_length": 16},
    "batch": {"micro_batch_size": 2, "global_batch_size": 8},
    "optimizer": {"lr": "3e-4"},
    "training": {"steps": 10},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    return file


def written(path: Path, section: str, **keys: Any) -> Path:
    values = copy.deepcopy(VALUES)
    values.setdefault(section, {}).update(keys)
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_float_written_as_yaml_11_reads_it_is_a_number(path: Path) -> None:
    assert load_run_config(path).optimizer.lr == 3e-4


def test_overrides_replace_keys_and_are_read_as_yaml(path: Path) -> None:
    config = load_run_config(
        path, ["optimizer.lr=1e-3", "data.train=[{prefix: x, weight: 2}, y]", "schedule.decay=wsd"]
    )
    assert config.optimizer.lr == 1e-3
    assert [(s.prefix, s.weight) for s in config.data.train] == [("x", 2.0), ("y", 1.0)]
    assert config.schedule.decay == "wsd"


def test_a_config_cannot_be_changed_after_loading(path: Path) -> None:
    config = load_run_config(path)
    with pytest.raises(ValueError, match="frozen"):
        config.training.steps = 5


def test_unknown_key_names_file_and_nearest_key(path: Path) -> None:
    written(path, "model", num_layer=2)
    with pytest.raises(ConfigError) as caught:
        load_run_config(path)
    assert str(caught.value) == f"{path}: unknown key 'model.num_layer'; did you mean 'model.num_hidden_layers'?"


def test_unknown_key_of_another_section_is_found_there(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"command line: unknown key 'training.lr'; did you mean 'optimizer.lr'\?"):
        load_run_config(path, ["training.lr=3"])


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("data.stages", "[{begin: 0.5, weights: {a: 1}}]", "data.phases"),
        ("training.checkpoint_activations", "true", "training.activation_checkpointing"),
    ],
)
def test_a_key_that_was_renamed_names_its_new_name(path: Path, old: str, value: str, new: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown key '{old}'; it is now called '{new}'"):
        load_run_config(path, [f"{old}={value}"])


def undescribed(schema: type[Section]) -> list[str]:
    keys = []
    for name, field in schema.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        keys += [key for section in sections for key in undescribed(section)]
        if not (field.description or (sections and sections[0].__doc__)):
            keys.append(f"{schema.__name__}.{name}")
    return keys


def test_every_key_has_a_description() -> None:
    assert undescribed(RunConfig) == []


def test_a_misspelt_key_is_not_also_told_as_missing(path: Path) -> None:
    values = copy.deepcopy(VALUES)
    values["model"]["hidden_siz"] = values["model"].pop("hidden_size")
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as caught:
        load_run_config(path)
    assert str(caught.value).count("\n") == 0
    assert "did you mean 'model.hidden_size'" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch.micro_batch_size=true", r"batch.micro_batch_size=true: true and false are not values of this key"),
        ("model.num_key_value_heads=true", r"model.num_key_value_heads=true"),
        ("optimizer.lr=yes", r"optimizer.lr=true"),
        ("training.steps=1.5", r"training.steps=1.5: input should be a valid integer"),
        ("training.steps=0", r"training.steps=0: input should be greater than 0"),
        ("training=3", r"training=3: this is a section; write training.key instead"),
        ("training.precision=fp16", r"training.precision='fp16': input should be 'auto', 'fp32' or 'bf16'"),
        ("model.num_key_value_heads=3", r"num_attention_heads=4 is not a multiple of num_key_value_heads=3"),
        ("model.hidden_size=30", r"hidden_size=30 is not a multiple of num_attention_heads=4"),
        ("model.head_dim=7", r"head_dim=7 is odd"),
        ("optimizer.weight_decay=5000", r"lr=0.0003 x optimizer.weight_decay=5000 is 1 or more"),
        ("schedule.warmup_steps=11", r"schedule.warmup_steps=11 is more than training.steps=10"),
        ("data.sequence_length=4096", r"more than model.max_position_embeddings=2048"),
        ("data.train=[]", r"the list is empty"),
        ("run.name=../x", r"run.name='../x'"),
        ("model.rope_parameters={rope_type: llama3, factor: 8}", r"'llama3' needs high_freq_factor, low_freq_factor"),
        ("model.rope_parameters={factor: 8}", r"'default' does not use factor"),
        ("parallel.tensor_parallel_size=0", r"parallel.tensor_parallel_size=0"),
        ("lr", r"'lr' is not section.key=value"),
        ("run.name.x=3", r"'run.name' is a value, not a section"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_reason(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run_config(path, [override])


def test_missing_file_and_unreadable_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such config file"):
        load_run_config(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("model: [1, 2")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_run_config(broken)
    broken.write_text("- 1\n")
    with pytest.raises(ConfigError, match="contains a list"):
        load_run_config(broken)


def test_every_shipped_run_config_loads() -> None:
    shipped = [path for path in (REPOSITORY / "examples").rglob("*.yaml") if "pretrain" in path.name]
    assert shipped
    for file in shipped:
        load_run_config(file)
