"""Checkpoints as a run leaves them, their weights drawn by transformers."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.export.tensor_stream import DTYPES
from megalite.model.hf_config import hf_config_from_model
from megalite.training.checkpoint.manifest import FORMAT, describe_file
from megalite.training.checkpoint.tensor_files import plan_shards, shard_name, write_index, write_shard
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.optimizers.definition import optimizer_definition
from runs import run_config, write_data

Made = tuple[Path, LlamaForCausalLM]


def build_checkpoint(
    runs: Path,
    precision: str = "bf16",
    max_shard_bytes: int = 10**9,
    with_moments: bool = True,
    **sections: dict[str, Any],
) -> Made:
    """Write ``runs/test/step-000006``; returns the folder and its model in fp32."""
    runs.mkdir(exist_ok=True)
    write_data(runs)
    config = run_config(runs, training={"precision": precision}, **sections)
    values = hf_config_from_model(config.model, dtype=precision, eos_token_id=1)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**values, "dtype": "float32"})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases begin as ones and zeros
                parameter += 0.1 * torch.randn_like(parameter)
    folder = runs / "test" / "step-000006"
    for name in ("hf", "optimizer"):
        (folder / name).mkdir(parents=True)
    (folder / "hf" / "config.json").write_text(json.dumps(values))
    (folder / "hf" / "generation_config.json").write_text('{"eos_token_id": 1}')
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "hf" / name).write_text((runs / "tokenizer" / name).read_text())
    (folder / "hf" / "chat_template.jinja").write_text("{{ messages }}")
    weights = dict(model.named_parameters())
    _write(folder / "hf", "model", weights, DTYPES[precision], max_shard_bytes)
    if precision != "fp32":
        _write(folder / "optimizer", "master", weights, torch.float32, max_shard_bytes)
    for tensor in optimizer_definition(config.optimizer.name).state if with_moments else ():
        zeros = {name: torch.nn.Parameter(torch.zeros_like(weight)) for name, weight in weights.items()}
        _write(folder / "optimizer", tensor.name, zeros, torch.float32, max_shard_bytes)
    state = TrainingState(6, 48, config.run.seed, 16, {str(runs / "train"): "0123abcd"})
    (folder / "state.json").write_text(json.dumps(asdict(state)))
    (folder / "ds_config.json").write_text('{"zero_optimization": {"stage": 3}}')
    (folder / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    write_manifest(folder)
    return folder, model


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Made]:
    """``make(precision, ...)`` builds a checkpoint in ``tmp_path``."""
    return partial(build_checkpoint, tmp_path)


@pytest.fixture(scope="module")
def make_checkpoint_in() -> Callable[..., Made]:
    """``make(runs, precision, ...)`` builds a checkpoint in any folder."""
    return build_checkpoint


def _write(
    folder: Path, stem: str, weights: dict[str, torch.nn.Parameter], dtype: torch.dtype, max_shard_bytes: int
) -> None:
    sizes = [(name, weight.numel() * dtype.itemsize) for name, weight in weights.items()]
    shards = plan_shards(sizes, max_shard_bytes)
    for index, names in enumerate(shards):
        tensors = {name: weights[name].detach().to(dtype) for name in names}
        write_shard(folder / shard_name(stem, index, len(shards)), tensors)
    write_index(folder, stem, shards, sum(size for _, size in sizes))


def write_manifest(folder: Path) -> None:
    """List every file of a checkpoint with its checksum."""
    files = {str(path.relative_to(folder)): describe_file(path) for path in folder.rglob("*") if path.is_file()}
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": files}))
