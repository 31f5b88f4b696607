"""train 6 = train 3 + resume + 3, bitwise: weights, moments, losses; and the export is the trained model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from megalite.config.ds_config import merge_ds_config
from megalite.config.errors import ConfigError, DataError
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.export.exported_folder import ExportOptions, export_checkpoint
from megalite.parallel.mesh import Mesh
from megalite.parity.launch import run_on_ranks
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.checkpoint.save import save_checkpoint
from megalite.training.checkpoint.tensor_files import TensorFiles
from megalite.training.checkpoint.training_state import TrainingState, resumed_state
from megalite.training.engine import Engine
from runs import checksums, records, run_config, tensors, train_case, write_data


@pytest.mark.parametrize(
    "layout",
    [
        "d2 zero0",
        "d1 zero0 bf16",
        "d2 zero1 bf16",
        "d2 zero2",
        "d1 zero3",
        "d2 zero3 bf16",
        "p2 d2 zero1",
        "p2 t2 zero1 sp bf16",
        "t2 c2 zero3 documents",
    ],
)
def test_a_resumed_run_is_bitwise_the_run_that_was_not_stopped(tmp_path: Path, layout: str) -> None:
    write_data(tmp_path)
    train_case(tmp_path, "straight", layout)
    train_case(tmp_path, "resumed", layout, tmp_path / "straight" / "step-000003")
    expected, got = records(tmp_path / "straight"), records(tmp_path / "resumed")
    assert got == {step: expected[step] for step in (4, 5, 6)}
    ends = [tensors(tmp_path / name / "step-000006") for name in ("straight", "resumed")]
    assert ends[0].keys() == ends[1].keys()
    assert len(ends[0]) >= 3 * 12
    for name, tensor in ends[0].items():
        assert torch.equal(ends[1][name], tensor), name
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_transformers_loads_the_trained_model(tmp_path: Path, precision: str) -> None:
    write_data(tmp_path)
    train_case(tmp_path, "run", f"d2 zero3 {'bf16' if precision == 'bf16' else ''}")
    checkpoint = tmp_path / "run" / "step-000006"
    model = AutoModelForCausalLM.from_pretrained(checkpoint / "hf", dtype=torch.float32)
    dataset = GPTDataset(str(tmp_path / "train"), 16, 5)
    losses = []
    for start in (32, 40):  # before and after the samples of the last step
        rows = torch.from_numpy(np.stack([dataset[start + i] for i in range(8)]))
        with torch.no_grad():
            logits = model(rows[:, :-1]).logits
        losses.append(float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())))
    last = records(tmp_path / "run")[6][0]
    assert losses[1] < last  # the step has lowered the loss of its own batch
    assert losses[1] == pytest.approx(last, rel=0.2)
    export_checkpoint(checkpoint, tmp_path / "fp32", ExportOptions("fp32", measures=False))
    whole = TensorFiles(
        *((checkpoint / "optimizer", "master") if precision == "bf16" else (checkpoint / "hf", "model"))
    )
    exported = TensorFiles(tmp_path / "fp32", "model")
    assert all(torch.equal(exported.read(name), whole.read(name)) for name in whole.names())
    if precision == "bf16":
        masters = load_file(checkpoint / "optimizer" / "master.safetensors")
        for name, tensor in load_file(checkpoint / "hf" / "model.safetensors").items():
            assert torch.equal(tensor, masters[name].bfloat16()), name


def save_in_small_shards(folder: Path) -> None:
    mesh = Mesh.create()
    config = run_config(folder, training={"precision": "bf16"})
    ds_config = merge_ds_config(config, {"zero_optimization": {"stage": 3}}, mesh.shape, "yaml", "json")
    engine = Engine(config, ds_config, mesh, torch.device("cpu"))
    batch = {key: torch.ones(2, 16, dtype=torch.long) for key in ("input_ids", "labels")}
    engine.train_step([batch] * 2, 1e-2)
    state = TrainingState(1, 8, config.run.seed, 16, checksums(config))
    for name, size in (("small", 5000), ("whole", 10**9)):
        (folder / name).mkdir(exist_ok=True)
        save_checkpoint(engine, config, ds_config, folder / name, state, max_shard_bytes=size)


def test_transformers_reads_shards_that_several_ranks_wrote(tmp_path: Path) -> None:
    write_data(tmp_path)
    run_on_ranks(save_in_small_shards, 2, tmp_path)
    small, whole = tmp_path / "small/step-000001", tmp_path / "whole/step-000001"
    assert len(list((small / "hf").glob("model-*.safetensors"))) > 3
    for checkpoint in (small, whole):
        verify_files(checkpoint)
    models = [AutoModelForCausalLM.from_pretrained(folder / "hf").state_dict() for folder in (small, whole)]
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    for stem in ("master", "exp_avg", "exp_avg_sq"):
        files = [TensorFiles(folder / "optimizer", stem) for folder in (small, whole)]
        assert set(files[0].names()) == set(files[1].names())
        assert all(torch.equal(files[0].read(name), files[1].read(name)) for name in files[0].names())


def test_what_does_not_fit_or_is_damaged_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    train_case(tmp_path, "run", "d1 zero1")
    checkpoint, sums = tmp_path / "run" / "step-000003", checksums(run_config(tmp_path))
    for sections, message in [
        ({"model": {"hidden_size": 64}}, "model.head_size=8, the config has 16"),
        ({"model": {"rms_norm_eps": 1e-6}}, "model.rms_norm_eps"),
        ({"run": {"seed": 6}}, "run.seed=5"),
        ({"data": {"sequence_length": 8}}, "data.sequence_length=16"),
        ({"training": {"steps": 3}, "schedule": {"warmup_steps": 1}}, "nothing is left to train"),
    ]:
        with pytest.raises(ConfigError, match=message):
            resumed_state(checkpoint, run_config(tmp_path, **sections), sums)
    with pytest.raises(ConfigError, match=r"contents of .*train differ"):
        resumed_state(checkpoint, run_config(tmp_path), dict.fromkeys(sums, "other"))
    verify_files(checkpoint)
    weights = checkpoint / "hf" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match=r"hf/model\.safetensors: differs from its checksum"):
        verify_files(checkpoint)
    weights.unlink()
    with pytest.raises(DataError, match=r"hf/model\.safetensors: missing"):
        verify_files(checkpoint)
