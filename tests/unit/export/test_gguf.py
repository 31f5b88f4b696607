"""A GGUF file: the same logits and tokens by transformers' reader, the same text by llama.cpp's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from stories import write_stories
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

from megalite.config.errors import ConfigError, DataError
from megalite.export.gguf_file import check_gguf, write_gguf
from megalite.tokenizer.formats.byte_level import SPLITS

pytest.importorskip("gguf")

TEXT = "Hello world, café 你好 — it's 2026!\n\tdef f(x): return x   12345\n\n  I'LL go.  "
SPECIAL = ["<|pad|>", "<|endoftext|>", "<|im_start|>"]


def byte_level_tokenizer(folder: Path, split: str | None = SPLITS["triple"], prefix: bool = False) -> None:
    tokenizer = Tokenizer(models.BPE())
    if split is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    else:
        parts = [pre_tokenizers.Split(Regex(split), behavior="isolated")]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [*parts, pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)]
        )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT, "the cat returned to the world of 2026 functions"] * 5, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[1], "eos_token": SPECIAL[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names | {"pad_token": SPECIAL[0], "add_bos_token": False}))
    (folder / "chat_template.jinja").write_text("{{ '<|im_start|>' + messages[0]['content'] }}")


def write_model(folder: Path, **values: Any) -> LlamaForCausalLM:
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    shape |= {"vocab_size": 352, "num_key_value_heads": 2, "initializer_range": 0.2, "rms_norm_eps": 1e-5}
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(**(shape | {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0} | values))
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(3, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(ids).logits.float()


def read(file: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tie_word_embeddings": True, "num_key_value_heads": 4, "rope_theta": 5e5},
        {"head_dim": 32, "num_key_value_heads": 1, "max_position_embeddings": 77},
    ],
    ids=["grouped heads", "tied, other theta", "wide heads"],
)
def test_transformers_reads_the_same_logits_and_tokens(tmp_path: Path, values: dict[str, Any]) -> None:
    model = write_model(tmp_path / "hf", **values)
    byte_level_tokenizer(tmp_path / "hf")
    written = write_gguf(tmp_path / "hf", tmp_path / "f32.gguf", "f32")
    again, its_tokenizer = read(tmp_path / "f32.gguf")
    assert written.bytes == (tmp_path / "f32.gguf").stat().st_size and not written.wider
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=2e-6)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in (TEXT, "<|im_start|>user", " x", ""):
        assert its_tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert its_tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert (its_tokenizer.bos_token_id, its_tokenizer.eos_token_id, its_tokenizer.pad_token_id) == (1, 1, 0)
    assert its_tokenizer.chat_template == tokenizer.chat_template
    for name in ("max_position_embeddings", "head_dim", "num_key_value_heads", "vocab_size", "tie_word_embeddings"):
        assert getattr(again.config, name) == getattr(model.config, name)


def rounded(weights: torch.Tensor, kind: str) -> torch.Tensor:
    """What a matrix is after it was stored as ``kind``; q8_0 as the specification has it."""
    if kind != "q8_0":
        return weights.to({"f16": torch.float16, "bf16": torch.bfloat16}[kind]).float()
    blocks = weights.reshape(-1, 32)
    scale = blocks.abs().amax(1, keepdim=True).clamp(min=1e-20) / 127
    return ((blocks / scale).round() * scale.half().float()).reshape(weights.shape)


@pytest.mark.parametrize(("kind", "bits"), [("f16", 16), ("bf16", 16), ("q8_0", 8.5)])
def test_smaller_kinds_round_every_matrix_and_nothing_else(tmp_path: Path, kind: str, bits: float) -> None:
    model = write_model(tmp_path / "hf")
    byte_level_tokenizer(tmp_path / "hf")
    sizes = {name: write_gguf(tmp_path / "hf", tmp_path / f"{name}.gguf", name).bytes for name in ("f32", kind)}
    again = read(tmp_path / f"{kind}.gguf")[0].state_dict()
    for name, weights in model.state_dict().items():
        expected = rounded(weights, kind) if weights.ndim == 2 else weights
        torch.testing.assert_close(again[name], expected, rtol=0, atol=1e-7)
    matrices = sum(weights.numel() for weights in model.state_dict().values() if weights.ndim == 2)
    assert sizes["f32"] - sizes[kind] == pytest.approx(matrices * (32 - bits) / 8, abs=64)


def test_matrices_that_no_block_fits_are_f16_and_named(tmp_path: Path) -> None:
    model = write_model(tmp_path / "hf", intermediate_size=100)
    byte_level_tokenizer(tmp_path / "hf")
    written = write_gguf(tmp_path / "hf", tmp_path / "q.gguf", "q8_0")
    assert written.wider == tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1))
    name = written.wider[0]
    assert torch.equal(read(tmp_path / "q.gguf")[0].state_dict()[name], rounded(model.state_dict()[name], "f16"))


def test_gpt2s_words_and_sentencepiece_keep_their_tokens(tmp_path: Path, shared_data: Path) -> None:
    write_model(tmp_path / "gpt2")
    byte_level_tokenizer(tmp_path / "gpt2", split=None)
    stories = write_stories(shared_data / "models" / "stories260K", tmp_path / "stories")
    for folder in (tmp_path / "gpt2", stories):
        write_gguf(folder, tmp_path / f"{folder.name}.gguf", "f32")
        again, its_tokenizer = read(tmp_path / f"{folder.name}.gguf")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for text in (TEXT, "Once upon a time, Lily's ball.  Two  spaces", "x"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert its_tokenizer(text, add_special_tokens=False)["input_ids"] == ids
        torch.testing.assert_close(
            logits(again), logits(AutoModelForCausalLM.from_pretrained(folder)), rtol=0, atol=2e-5
        )


def test_a_real_sentencepiece_vocabulary_keeps_its_tokens(tmp_path: Path, shared_data: Path) -> None:
    write_model(tmp_path / "hf", vocab_size=32000, eos_token_id=2)
    (tmp_path / "sp").mkdir()
    (tmp_path / "sp" / "tokenizer.model").write_bytes(
        (shared_data / "tokenizers/mistral-v1/tokenizer.model").read_bytes()
    )
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path / "sp")
    tokenizer.save_pretrained(tmp_path / "hf")
    write_gguf(tmp_path / "hf", tmp_path / "f16.gguf", "f16")
    its_tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="f16.gguf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in (TEXT, "Lily's  ball 🙂"):
        assert its_tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_llama_cpp_itself_continues_with_the_same_tokens(tmp_path: Path, shared_data: Path) -> None:
    engine = pytest.importorskip("xllamacpp", reason="llama.cpp is not there: pip install xllamacpp")
    folder = write_stories(shared_data / "models" / "stories260K", tmp_path / "stories")
    write_gguf(folder, tmp_path / "stories.gguf", "f32")
    settings = engine.CommonParams()
    settings.model.path = str(tmp_path / "stories.gguf")
    settings.n_ctx, settings.warmup, settings.n_parallel, settings.verbosity = 256, False, 1, 0
    settings.cpuparams.n_threads = 1
    server = engine.Server(settings)
    prompt = "Once upon a time"
    answer = server.handle_completions({"prompt": prompt, "n_predict": 60, "temperature": 0, "n_probs": 1})["choices"][
        0
    ]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt)["input_ids"]  # this folder's tokenizer adds no bos, so the file must not either
    made = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=60)
    with torch.no_grad():
        logs = model(made[:, :-1]).logits[0, len(ids) - 1 :].log_softmax(-1)
    theirs = answer["logprobs"]["content"]
    assert [token["id"] for token in theirs] == made[0, len(ids) :].tolist()
    ours = logs.gather(-1, made[0, len(ids) :, None])[:, 0].tolist()
    assert [token["logprob"] for token in theirs] == pytest.approx(
        ours, abs=5e-3
    )  # its cache of keys and values is f16


def test_what_gguf_has_no_form_for_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "hf")
    byte_level_tokenizer(tmp_path / "hf", split=r"\w+|\W+")
    with pytest.raises(
        DataError, match="GGUF has no name for the tokenizer's word pattern; known are gpt-2, llama-bpe"
    ):
        write_gguf(tmp_path / "hf", tmp_path / "out.gguf", "f32")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".gguf"] == []
    with pytest.raises(ConfigError, match="GGUF type q2: unknown; choose one of f32"):
        check_gguf(tmp_path / "hf", "q2")
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    write_model(tmp_path / "linear", rope_parameters=scaled)
    with pytest.raises(DataError, match="rope_type 'linear' cannot be written"):
        check_gguf(tmp_path / "linear", "f32")
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path / "other")
    with pytest.raises(DataError, match="a 'gpt2' model"):
        check_gguf(tmp_path / "other", "f32")
