"""Tensors on their way to and from a checkpoint: which file, which rank, which slice."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from thread_ranks import ThreadRanks
from torch import Tensor, nn

from megalite.config.errors import DataError
from megalite.config.schema import ParallelSection
from megalite.parallel.mesh import Mesh
from megalite.parallel.parameter import sliced_parameter
from megalite.parallel.slicing import cut_slice
from megalite.training.checkpoint.load import load_checkpoint
from megalite.training.checkpoint.state_access import MASTER_WEIGHT, read_tensor, set_step_counters, write_tensor
from megalite.training.checkpoint.tensor_files import TensorFiles, plan_shards, shard_name, write_index, write_shard
from megalite.training.checkpoint.tensor_routes import TensorRoutes
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.optimizers.definition import StateTensor, optimizer_definition
from megalite.training.supervision.heartbeat import Heartbeat
from runs import run_config


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([10], [[0]]),
        ([4, 6], [[0, 1]]),  # exactly full
        ([4, 6, 1], [[0, 1], [2]]),
        ([4, 7], [[0], [1]]),
        ([11, 1, 12, 3, 7], [[0], [1], [2], [3, 4]]),  # larger than a shard: alone
    ],
)
def test_shards_are_filled_in_order(sizes: list[int], expected: list[list[int]]) -> None:
    assert plan_shards([(str(i), size) for i, size in enumerate(sizes)], 10) == [[*map(str, s)] for s in expected]


def test_shards_are_named_as_transformers_names_them() -> None:
    assert shard_name("model", 0, 1) == "model.safetensors"
    assert [shard_name("m", i, 12) for i in (0, 11)] == ["m-00001-of-00012.safetensors", "m-00012-of-00012.safetensors"]


def test_what_is_written_in_shards_is_read_by_name(tmp_path: Path) -> None:
    tensors = {name: torch.randn(2, 3) for name in "abc"}
    shards = [["a", "b"], ["c"]]
    for number, names in enumerate(shards):
        write_shard(tmp_path / shard_name("model", number, 2), {name: tensors[name].t() for name in names})
    write_index(tmp_path, "model", shards, 72)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert index == {"metadata": {"total_size": 72}, "weight_map": {"a": files[0], "b": files[0], "c": files[1]}}
    read = TensorFiles(tmp_path, "model")
    assert sorted(read.names()) == ["a", "b", "c"]
    assert all(torch.equal(read.read(name), tensors[name].t()) for name in "abc")
    with pytest.raises(DataError, match="tensor 'd' is in none of the checkpoint's files"):
        read.read("d")
    (tmp_path / files[1]).unlink()
    with pytest.raises(DataError, match=rf"{files[1]}: missing"):
        TensorFiles(tmp_path, "model")


def test_one_shard_needs_no_index(tmp_path: Path) -> None:
    write_shard(tmp_path / "model.safetensors", {"a": torch.ones(2)})
    write_index(tmp_path, "model", [["a"]], 8)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert TensorFiles(tmp_path, "model").read("a").tolist() == [1, 1]


STAGES = [["embed", "a"], ["b", "c"], ["d", "embed"]]
"""Names on each of three stages; the tied table is on two."""


FULL = torch.Size((6, 4))
ADAMW = optimizer_definition("adamw").state
KEPT = (
    *ADAMW,
    StateTensor("row", dims=(0,)),  # factored as Adafactor's: cut with the rows of the parameter
    StateTensor("column", dims=(1,)),  # the same on every rank that holds other rows
    StateTensor("momentum", belongs_to=lambda name: name == "b"),
)


def value_of(name: str, tensor: StateTensor) -> Tensor:
    generator = torch.Generator().manual_seed(sum(map(ord, name + tensor.name)))
    return torch.randn(tensor.shape(FULL), generator=generator)


@pytest.mark.parametrize("owner", range(12))
def test_a_tensor_reaches_its_owner_whole_and_nobody_else(owner: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stages of two data and two tensor ranks; ``a`` and ``d`` are whole on every rank, the others split."""

    def on_rank() -> dict[tuple[str, StateTensor], Tensor | None]:
        mesh = Mesh.create(ParallelSection(tensor_parallel_size=2, pipeline_parallel_size=3))
        named, state = [], {}
        for name in STAGES[mesh.pipe_rank]:
            split = name in ("embed", "b", "c")
            parameter = sliced_parameter(FULL, 0, mesh) if split else nn.Parameter(torch.empty(FULL))
            with torch.no_grad():
                parameter.copy_(cut_slice(value_of(name, MASTER_WEIGHT), MASTER_WEIGHT.slicing(parameter)))
            state[parameter] = {
                tensor.name: cut_slice(value_of(name, tensor), tensor.slicing(parameter)) for tensor in KEPT
            }
            assert state[parameter]["row"].shape == (len(parameter), 1)
            assert state[parameter]["column"].shape == (1, 4)
            named.append((name, parameter))
        optimizer = torch.optim.AdamW([p for _, p in named])
        optimizer.state.update(state)
        engine: Any = SimpleNamespace(
            mesh=mesh,
            named_parameters=named,
            device=torch.device("cpu"),
            deepspeed=SimpleNamespace(optimizer=optimizer),
        )
        routes = TensorRoutes(engine)
        shapes = {name: FULL for names in STAGES for name in names}
        return {
            (name, tensor): routes.bring(name, tensor, shape, owner)
            for tensor in (MASTER_WEIGHT, *KEPT)
            for name, shape in tensor.shapes(shapes).items()
        }

    for rank, received in enumerate(ThreadRanks(12, monkeypatch).run(on_rank)):
        assert len(received) == 5 * 5 + 1
        for key, tensor in received.items():
            if rank == owner:
                assert tensor is not None, key
                assert torch.equal(tensor, value_of(*key)), key
            else:
                assert tensor is None, key


def plain_engine() -> Any:
    """Two parameters under torch's AdamW, as at ZeRO stage 0; a step gives the optimizer its state."""
    torch.manual_seed(0)
    given: list[set[str]] = []
    named = [(name, nn.Parameter(torch.randn(2, 3))) for name in ("one", "two")]
    optimizer = torch.optim.AdamW([p for _, p in named])
    deepspeed = SimpleNamespace(
        optimizer=optimizer, gradient_accumulation_steps=lambda: 3, global_steps=0, micro_steps=0, global_samples=0
    )

    def train_step(batches: list[Any], lr: float) -> None:
        assert (len(batches), lr) == (3, 0.0)
        assert all(value.shape == (2, 16) for batch in batches for value in batch.values())
        given.append(set(batches[0]))
        for _, parameter in named:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        deepspeed.global_steps = deepspeed.micro_steps = deepspeed.global_samples = 9

    return SimpleNamespace(
        named_parameters=named,
        mesh=Mesh.single(),
        device=torch.device("cpu"),
        deepspeed=deepspeed,
        train_step=train_step,
        heartbeat=Heartbeat(),
        given=given,
    )


def test_weights_state_and_step_counters_are_read_and_written() -> None:
    engine = plain_engine()
    (_, one), (_, two) = engine.named_parameters
    engine.train_step([{"input_ids": torch.zeros(2, 16), "labels": torch.zeros(2, 16)}] * 3, 0.0)
    untouched = two.detach().clone()
    weight, square = torch.randn(2, 3), torch.randn(2, 3)
    write_tensor(engine.deepspeed, one, MASTER_WEIGHT, weight)
    write_tensor(engine.deepspeed, one, StateTensor("exp_avg_sq"), square)
    set_step_counters(engine.deepspeed, 41)
    assert torch.equal(one, weight)
    assert torch.equal(read_tensor(engine.deepspeed, one, MASTER_WEIGHT), weight)
    assert torch.equal(read_tensor(engine.deepspeed, one, StateTensor("exp_avg_sq")), square)
    assert torch.equal(read_tensor(engine.deepspeed, one, StateTensor("exp_avg")), torch.full((2, 3), 0.1))
    assert torch.equal(two, untouched)
    assert [state["step"].item() for state in engine.deepspeed.optimizer.state.values()] == [41, 41]


@pytest.mark.parametrize("masters", [False, True])
def test_a_checkpoint_fills_a_fresh_engine(masters: bool, tmp_path: Path) -> None:
    stems = {"hf": "model", "exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "master": "master"}
    for folder in ("hf", "optimizer"):
        (tmp_path / folder).mkdir()
    saved = {key: {name: torch.randn(2, 3) for name in ("one", "two")} for key in stems}
    for key, stem in stems.items():
        if key != "master" or masters:
            save_file(saved[key], tmp_path / ("hf" if key == "hf" else "optimizer") / f"{stem}.safetensors")
    engine = plain_engine()
    config = run_config(tmp_path, data={"mask_documents": masters})
    load_checkpoint(engine, config, tmp_path, TrainingState(17, 136, 5, 16, {}))
    assert engine.given == [{"input_ids", "labels"} | ({"positions"} if masters else set())]
    for name, parameter in engine.named_parameters:
        assert torch.equal(parameter, saved["master" if masters else "hf"][name])
        state = engine.deepspeed.optimizer.state[parameter]
        assert state["step"].item() == 17
        for tensor in ADAMW:
            assert torch.equal(state[tensor.name], saved[tensor.name][name])
    counters = engine.deepspeed
    assert (counters.global_steps, counters.micro_steps, counters.global_samples) == (0, 0, 0)
