"""The published stories260K (karpathy/tinyllamas) as a Hugging Face folder: a small trained Llama."""

import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def write_stories(source: Path, output: Path) -> Path:
    """Convert ``stories260K.bin`` and ``tok512.bin`` to the folder ``output``."""
    raw = (source / "stories260K.bin").read_bytes()
    dim, hidden, layers, heads, kv_heads, vocab, length = struct.unpack("7i", raw[:28])
    numbers, position = torch.from_numpy(np.frombuffer(raw, np.float32, offset=28).copy()), 0
    kv_dim = dim // heads * kv_heads
    tensors = {}
    shapes = [
        ("input_layernorm", (dim,)),
        ("self_attn.q_proj", (dim, dim)),
        ("self_attn.k_proj", (kv_dim, dim)),
        ("self_attn.v_proj", (kv_dim, dim)),
        ("self_attn.o_proj", (dim, dim)),
        ("post_attention_layernorm", (dim,)),
        ("mlp.gate_proj", (hidden, dim)),
        ("mlp.down_proj", (dim, hidden)),
        ("mlp.up_proj", (hidden, dim)),
    ]
    names = [("model.embed_tokens", (vocab, dim))]
    names += [(f"model.layers.{layer}.{name}", shape) for name, shape in shapes for layer in range(layers)]
    for name, shape in [*names, ("model.norm", (dim,))]:
        count = int(np.prod(shape))
        weight, position = numbers[position : position + count].view(shape), position + count
        if name.endswith(("q_proj", "k_proj")):  # Meta rotates neighbouring values, transformers halves
            weight = (
                weight.view(heads if name.endswith("q_proj") else kv_heads, -1, 2, dim).transpose(1, 2).reshape(shape)
            )
        tensors[f"{name}.weight"] = weight.contiguous()
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    left = model.load_state_dict(tensors, strict=False)
    assert left.missing_keys == ["lm_head.weight"] and not left.unexpected_keys
    model.save_pretrained(output)
    _tokenizer(source / "tok512.bin").save_pretrained(output)
    return output


def _tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """SentencePiece's BPE: one merge for every split of a piece into two others, highest score first."""
    data, offset, pieces = path.read_bytes(), 4, []
    while offset < len(data):
        score, size = struct.unpack_from("fi", data, offset)
        pieces.append((data[offset + 8 : offset + 8 + size].decode().strip("\n") or "\n", score))
        offset += 8 + size
    names = [piece.replace(" ", "▁") for piece, _ in pieces]
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = [
        (name[:cut], name[cut:])
        for name, _ in sorted(zip(names, (score for _, score in pieces), strict=True), key=lambda pair: -pair[1])
        if not name.startswith("<")
        for cut in range(1, len(name))
        if name[:cut] in vocabulary and name[cut:] in vocabulary
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
