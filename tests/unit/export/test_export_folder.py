"""The exported folder is what transformers itself would have saved of the same weights, and transformers loads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from megalite.config.errors import ConfigError, DataError
from megalite.export.exported_folder import ExportOptions, export_checkpoint
from megalite.export.tensor_stream import PIECE_BYTES, cast_pieces, write_tensor_file

TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHAPES = [
    {"tie_word_embeddings": True},
    {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True, "head_dim": 16},
]


def all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("model_section", SHAPES, ids=["tied", "untied, biases"])
@pytest.mark.parametrize("dtype", TORCH)
def test_the_folder_equals_save_pretrained_tensor_by_tensor(
    make_checkpoint: Callable[..., Any], tmp_path: Path, dtype: str, model_section: dict[str, Any]
) -> None:
    checkpoint, model = make_checkpoint(model=model_section)
    exported = export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(dtype, measures=False))
    model.to(TORCH[dtype]).save_pretrained(tmp_path / "expected")
    got, expected = all_tensors(tmp_path / "out"), all_tensors(tmp_path / "expected")
    assert got.keys() == expected.keys()
    assert ("lm_head.weight" in got) is not model_section["tie_word_embeddings"]
    for name, tensor in expected.items():
        assert got[name].dtype == TORCH[dtype]
        assert torch.equal(got[name], tensor), name
    assert exported.parameters == sum(tensor.numel() for tensor in expected.values())
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    assert loaded.dtype == TORCH[dtype]
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, AutoModelForCausalLM.from_pretrained(tmp_path / "expected")(ids).logits)


def test_weights_come_from_the_masters_where_a_run_has_them(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    checkpoint, model = make_checkpoint("bf16")
    export_checkpoint(checkpoint, tmp_path / "out", ExportOptions("fp32", measures=False))
    weight = dict(model.named_parameters())["model.norm.weight"]
    assert not torch.equal(weight, weight.bfloat16().float())
    assert torch.equal(all_tensors(tmp_path / "out")["model.norm.weight"], weight)
    for path in (checkpoint / "optimizer").iterdir():
        path.unlink()
    export_checkpoint(checkpoint, tmp_path / "rounded", ExportOptions("fp32", measures=False, verifies=False))
    assert torch.equal(all_tensors(tmp_path / "rounded")["model.norm.weight"], weight.bfloat16().float())


def test_an_fp32_run_is_exported_bitwise(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint, _ = make_checkpoint("fp32")
    export_checkpoint(checkpoint, tmp_path / "out", ExportOptions("fp32", measures=False))
    got, saved = all_tensors(tmp_path / "out"), all_tensors(checkpoint / "hf")
    assert got.keys() == saved.keys()
    assert all(torch.equal(got[name], saved[name]) for name in saved)


@pytest.mark.parametrize("source_bytes", [7_000, 10**9])
def test_many_shards_are_read_and_written(
    make_checkpoint: Callable[..., Any], tmp_path: Path, source_bytes: int
) -> None:
    checkpoint, model = make_checkpoint(max_shard_bytes=source_bytes)
    exported = export_checkpoint(
        checkpoint, tmp_path / "out", ExportOptions("bf16", max_shard_bytes=5_000, measures=False)
    )
    model.bfloat16().save_pretrained(tmp_path / "expected", max_shard_size=5_000)
    index, expected = (
        json.loads((tmp_path / name / "model.safetensors.index.json").read_text()) for name in ("out", "expected")
    )
    assert exported.shards == len(set(index["weight_map"].values())) > 4
    assert index["weight_map"].keys() == expected["weight_map"].keys()
    assert index["metadata"]["total_size"] == expected["metadata"]["total_size"]
    for path in (tmp_path / "out").glob("*.safetensors"):
        assert sum(tensor.nbytes for tensor in load_file(path).values()) <= 5_000
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_everything_beside_the_weights_travels(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint, _ = make_checkpoint()
    out = tmp_path / "deep" / "out"
    export_checkpoint(checkpoint, out, ExportOptions("fp16", measures=False))
    copied = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"}
    assert {path.name for path in out.iterdir()} == copied | {"config.json", "model.safetensors", "README.md"}
    for name in copied:
        assert (out / name).read_bytes() == (checkpoint / "hf" / name).read_bytes()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (checkpoint / "hf", out))
    assert after == before | {"dtype": "float16"}
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer("w3")["input_ids"] == [3]
    assert tokenizer.chat_template == "{{ messages }}"
    assert GenerationConfig.from_pretrained(out).eos_token_id == 1


@pytest.mark.parametrize("dtype", TORCH.values(), ids=TORCH.keys())
def test_a_streamed_file_is_byte_for_byte_the_librarys(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"a.b": torch.randn(3, 5).to(dtype), "z": torch.randn(7).to(dtype), "é": torch.randn(2, 3, 1).to(dtype)}
    write_tensor_file(
        tmp_path / "ours",
        {name: tensor.shape for name, tensor in tensors.items()},
        dtype,
        lambda name: tensors[name].split(2),
    )
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_pieces_are_small_and_make_up_the_tensor() -> None:
    tensor = torch.randn(1000, 9000)
    pieces = list(cast_pieces("x", tensor.shape, lambda _, start, stop: tensor[start:stop], torch.bfloat16))
    assert len(pieces) > 2
    assert all(piece.numel() * 4 <= PIECE_BYTES for piece in pieces)
    assert torch.equal(torch.cat(pieces), tensor.bfloat16())


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            70_000.0,
            "fp16",
            r"'model\.layers\.1\.mlp\.up_proj\.weight' has the value 70000, but 65504 is .*--dtype bf16",
        ),
        (3.4e38, "bf16", r"'model\.layers\.1\.mlp\.up_proj\.weight' has the value 3\.4e\+38.*--dtype fp32"),
        (float("nan"), "bf16", r"'model\.layers\.1\.mlp\.up_proj\.weight' has values that are not finite"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_tensor(
    make_checkpoint: Callable[..., Any], tmp_path: Path, value: float, dtype: str, message: str
) -> None:
    checkpoint, _ = make_checkpoint()
    path = checkpoint / "optimizer" / "master.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][7, 3] = -value
    save_file(tensors, path)
    with pytest.raises(DataError, match=message):
        export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(dtype, measures=False, verifies=False))
    assert not list(tmp_path.glob("out*"))


def test_tensors_that_are_not_the_models_are_refused(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint, _ = make_checkpoint()
    path = checkpoint / "hf" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"vocab_size": 64}))
    with pytest.raises(
        DataError, match=r"'model.embed_tokens.weight': .* describes \(64, 32\), the files contain \(61, 32\)"
    ):
        export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(verifies=False))
    path.write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(DataError, match=r"'model\.layers\.1\..* describes no such tensor"):
        export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(verifies=False))
    path.write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="only 'llama' is read"):
        export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(verifies=False))
