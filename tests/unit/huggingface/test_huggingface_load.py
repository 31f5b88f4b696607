"""Incomplete, damaged or mislabeled models are refused in one line, with the name of the part, before they are used."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from damage import (
    LAYER,
    WEIGHTS,
    Damage,
    change_header,
    change_json,
    change_tensors,
    copied,
    cut,
    sharded,
    sharded_then,
    write,
)
from safetensors.torch import load_file, save_file
from small_models import write_small_model
from transformers import AutoModelForCausalLM

from megalite.config.errors import DataError
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_model, load_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("whole") / "hf", seed=0)


def _rename(tensors: dict[str, Any]) -> None:
    tensors[LAYER.replace("up_proj", "upward")] = tensors.pop(LAYER)


def _pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def _second_layer(tensors: dict[str, Any]) -> None:
    tensors |= {
        name.replace("layers.0", "layers.1"): value.clone() for name, value in tensors.items() if "layers" in name
    }


def _one_byte_vocabulary(folder: Path) -> None:
    change_json("config.json", vocab_size=100)(folder)
    change_tensors(
        lambda t: t.update({n: t[n][:100].clone() for n in ("model.embed_tokens.weight", "lm_head.weight")})
    )(folder)


EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer_config.json"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a tensor removed": (change_tensors(lambda t: t.pop(LAYER)), f"needs tensor '{LAYER}', which the weights lack"),
    "a layer removed": (
        change_tensors(lambda t: [t.pop(name) for name in list(t) if "layers.0" in name]),
        "and 8 more, which the weights lack",
    ),
    "a tensor added": (change_tensors(lambda t: t.update(extra=torch.ones(2))), "the weights hold tensor 'extra'"),
    "a tensor renamed": (change_tensors(_rename), f"'{LAYER}'"),
    "a tensor reshaped": (change_tensors(lambda t: t.update({LAYER: t[LAYER][:5].clone()})), f"'{LAYER}' is (5, 16)"),
    "a tensor of integers": (change_tensors(lambda t: t.update({LAYER: t[LAYER].long()})), f"'{LAYER}' is I64"),
    "8-bit floats without scales": (
        change_tensors(lambda t: t.update({LAYER: t[LAYER].to(torch.float8_e4m3fn)})),
        f"'{LAYER}' is F8_E4M3",
    ),
    "NaN": (change_tensors(lambda t: t[LAYER].fill_(float("nan"))), f"'{LAYER}' contains NaN"),
    "infinity": (change_tensors(lambda t: t[LAYER][3, 4].fill_(float("-inf"))), f"'{LAYER}' contains NaN or infinity"),
    "bert": (change_json(CONFIG, model_type="bert", architectures=["BertLMHeadModel"]), "a 'bert' model"),
    "more layers": (change_json(CONFIG, num_hidden_layers=2), "layers.1"),
    "fewer layers": (change_tensors(_second_layer), "layers.1"),
    "a million layers": (change_json(CONFIG, num_hidden_layers=10**6), "num_hidden_layers=1,000,000"),
    "a hidden size of a billion": (change_json(CONFIG, hidden_size=10**9), "hidden_size=1,000,000,000"),
    "a vocabulary of a billion": (change_json(CONFIG, vocab_size=10**9), "vocab_size=1,000,000,000"),
    "a billion labels": (change_json(CONFIG, num_labels=10**9), "num_labels=1000000000"),
    "an integer without end": (change_json(CONFIG, max_position_embeddings=10**400), "out of bounds"),
    "a tied head that differs": (change_json(CONFIG, tie_word_embeddings=True), "tie_word_embeddings"),
    "a head that is not there": (change_tensors(lambda t: t.pop("lm_head.weight")), "lm_head.weight"),
    "a vocabulary too small": (_one_byte_vocabulary, "ids up to 257, but the model embeds 100"),
    "an activation": (change_json(CONFIG, hidden_act="magic"), "magic"),
    "a rope type": (change_json(CONFIG, rope_parameters={"rope_type": "magic", "rope_theta": 1e4}), "magic"),
    "no rope frequency": (change_json(CONFIG, rope_parameters={"rope_type": "default", "rope_theta": 0}), "inv_freq"),
    "a precision": (change_json(CONFIG, dtype="float7"), "dtype='float7'"),
    "an integer precision": (change_json(CONFIG, dtype="int8"), "dtype='int8'"),
    "an attention of the hub": (change_json(CONFIG, attn_implementation="someone/kernel"), "someone/kernel"),
    "a quantisation": (change_json(CONFIG, quantization_config={"quant_method": "magic"}), "is quantized by 'magic'"),
    "a quantisation that is none": (change_json(CONFIG, quantization_config=[]), "cannot be loaded"),
    "no heads": (change_json(CONFIG, num_attention_heads=0), "cannot be loaded"),
    "heads in words": (change_json(CONFIG, num_attention_heads="two"), "cannot be loaded"),
    "a negative size": (change_json(CONFIG, intermediate_size=-32), "cannot be loaded"),
    "a type nobody has": (change_json(CONFIG, model_type="magic"), "magic"),
    "a type in brackets": (change_json(CONFIG, model_type=["llama"]), "'model_type' is a list"),
    "no type": (change_json(CONFIG, model_type=...), "'model_type' is nothing"),
    "an encoder": (change_json(CONFIG, model_type="t5"), "does not generate text"),
    "config null": (write(CONFIG, b"null"), "contains nothing, not an object"),
    "config a list": (write(CONFIG, b"[]"), "contains a list, not an object"),
    "config empty": (write(CONFIG, b""), "not readable as JSON"),
    "config cut": (cut(CONFIG, 0.5), "not readable as JSON"),
    "config binary": (write(CONFIG, b"\xff\xfe\x00\x01"), "not UTF-8"),
    "config nested": (write(CONFIG, b'{"a":' * 99999 + b"1" + b"}" * 99999), "nested too deep"),
    "generation null": (write(GENERATION, b"null"), "generation_config.json: contains nothing"),
    "generation states text": (change_json(GENERATION, output_hidden_states="moon"), "output_hidden_states is text"),
    "length text": (change_json(TOKENIZER, model_max_length="long"), "model_max_length is 'long'"),
    "length below one": (change_json(TOKENIZER, model_max_length=0), "model_max_length is '0'"),
    "generation cut": (cut(GENERATION, 0.4), "generation_config.json: not readable as JSON"),
    "an end token in words": (change_json(GENERATION, eos_token_id="two"), "eos_token_id='two'"),
    "tokenizer config a list": (write(TOKENIZER, b"[]"), "tokenizer_config.json: contains a list"),
    "tokenizer null": (write("tokenizer.json", b"null"), "its tokenizer cannot be loaded"),
    "tokenizer empty": (write("tokenizer.json", b""), "its tokenizer cannot be loaded"),
    "tokenizer cut": (cut("tokenizer.json", 0.5), "its tokenizer cannot be loaded"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "contains no tokenizer"),
    "weights empty": (write(WEIGHTS, b""), "is damaged"),
    "weights cut": (cut(WEIGHTS, 0.7), "is damaged"),
    "weights are text": (write(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:abc"), "is damaged"),
    "a header without end": (write(WEIGHTS, b"\xff" * 7 + b"\x7f" + b"{}"), "is damaged"),
    "overlapping tensors": (
        change_header(lambda h: h[LAYER].update(data_offsets=h["model.norm.weight"]["data_offsets"])),
        "is damaged",
    ),
    "a huge shape": (change_header(lambda h: h[LAYER].update(shape=[10**9, 10**9])), "is damaged"),
    "pickles": (_pickled, "pytorch_model.bin, a format that can run code"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "no .safetensors weights"),
    "an adapter": (change_json("adapter_config.json", base_model_name_or_path="x"), "merge it into its base model"),
    "a shard missing": (
        sharded_then(lambda folder, index: (folder / "model-00002-of-00002.safetensors").unlink()),
        "model-00002-of-00002.safetensors: missing",
    ),
    "an index entry missing": (sharded_then(lambda folder, index: index["weight_map"].pop(LAYER)), "not listed"),
    "an index entry too many": (
        sharded_then(lambda folder, index: index["weight_map"].update(x="model-00001-of-00002.safetensors")),
        "has no tensor 'x'",
    ),
    "an index that leads out": (
        sharded_then(lambda folder, index: index["weight_map"].update({LAYER: "../../x.safetensors"})),
        "is outside the folder",
    ),
    "an index that is a list": (
        sharded_then(lambda folder, index: index.update(weight_map=[])),
        "'weight_map' is a list",
    ),
    "both forms": (lambda folder: (sharded(folder), save_file({}, folder / WEIGHTS), None)[-1], "contains both"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_model_is_refused_in_one_line(folder: Path, tmp_path: Path, damage: tuple[Damage, str]) -> None:
    broken = copied(folder, tmp_path / "hf", damage[0])
    began = time.process_time()
    with pytest.raises(DataError) as refused:
        load_model(str(broken))
    told = str(refused.value)
    assert damage[1] in told and str(broken) in told, told
    assert "\n" not in told and len(told) < 600
    assert time.process_time() - began < 20


def test_sound_models_pass_as_transformers_loads_them(folder: Path, tmp_path: Path) -> None:
    tied = copied(folder, tmp_path / "tied", change_json("config.json", tie_word_embeddings=True))
    change_tensors(lambda t: t.pop("lm_head.weight"))(tied)
    both = copied(
        tied,
        tmp_path / "both",
        change_tensors(lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()})),
    )
    old = copied(
        folder,
        tmp_path / "old",
        change_tensors(lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})),
    )
    for path in (folder, copied(folder, tmp_path / "shards", sharded), tied, both, old):
        loaded, theirs = load_model(str(path))[0], AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        assert {n: t.tolist() for n, t in loaded.state_dict().items()} == {
            n: t.tolist() for n, t in theirs.state_dict().items()
        }


@pytest.mark.parametrize("name", ["GPT2", "Qwen3", "Mixtral", "GPTNeoX", "Gemma2"])
def test_converted_architectures_load_and_are_checked_too(name: str, tmp_path: Path) -> None:
    import transformers

    small = {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    small |= {"num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    if name == "Mixtral":
        small |= {"num_local_experts": 2}
    if name == "GPT2":
        small = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**small)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "hf")
    assert load_weights(str(tmp_path / "hf")).config.model_type == config.model_type
    names = sorted(load_file(tmp_path / "hf" / WEIGHTS))
    gone = next(n for n in names if "1." in n and n.endswith(".weight"))
    change_tensors(lambda t: t.pop(gone))(tmp_path / "hf")
    with pytest.raises(DataError):
        load_weights(str(tmp_path / "hf"))


def test_a_foreign_path_is_told_apart_from_a_damaged_model(folder: Path, tmp_path: Path) -> None:
    for path in ("", "../nowhere/x", "/nowhere"):
        with pytest.raises(FileNotFoundError, match="no such model folder"):
            load_model(path)
    with pytest.raises(DataError, match="is a file"):
        load_model(str(folder / "config.json"))
    (tmp_path / "x.gguf").write_bytes(b"GGXX")
    with pytest.raises(DataError, match="is not a GGUF file"):
        load_model(str(tmp_path / "x.gguf"))
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + b"\xff" * 40)
    with pytest.raises(DataError, match="cannot be loaded"):
        load_model(str(tmp_path / "x.gguf"))
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"


def test_a_folder_that_transformers_cannot_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="set the model's type"):
        load_model(str(tmp_path))


def test_a_path_that_is_not_a_model_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        check_model_folder(str(tmp_path / "none"))
    with pytest.raises(DataError, match="is not a model folder"):
        check_model_folder(str(tmp_path))
    with pytest.raises(DataError, match=f"did you mean {folder}"):
        check_model_folder(str(folder.parent))
