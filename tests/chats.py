"""What the post-training tests share: a small model folder, its tokenizer, chat templates and conversations."""

import json
import random
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, pre_tokenizers, trainers

from megalite.posttraining.rows.chat import Conversation
from megalite.tokenizer.formats.byte_level import SPLITS, byte_level_bpe
from megalite.tokenizer.learn.folder import write_tokenizer
from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, special_tokens

EXTRA = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
)
GEMMA = ("<bos>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>", "<|system|>")
WORDS = "the cat sat on a mat and saw two red birds near old trees by the river at noon".split()

TEMPLATES = {
    "chatml with marks": CHAT_TEMPLATE,
    "chatml": CHAT_TEMPLATE.replace("{%- generation %}", "").replace("{% endgeneration %}", ""),
    "llama 3": (
        "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
        "+ m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ '<s>' }}{% for m in messages if m['role'] != 'system' %}{% if m['role'] == 'user' %}"
        "{{ '[INST] ' }}{% if loop.first and messages[0]['role'] == 'system' %}"
        "{{ messages[0]['content'] + '\n\n' }}{% endif %}"
        "{{ m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '</s>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "vicuna": (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + ' ' }}{% elif m['role'] == 'user' %}"
        "{{ 'USER: ' + m['content'] + ' ' }}{% else %}{{ 'ASSISTANT: ' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
}


def write_model(folder: Path, positions: int = 256) -> Path:
    """A random Llama of two layers and a byte-level tokenizer with the marks of several chat templates."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    special = [*special_tokens(0), *EXTRA, *GEMMA]
    tokenizer = byte_level_bpe([], [], SPLITS["triple"])
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 50, trainer)
    write_tokenizer(tokenizer, folder)
    vocabulary = len(AutoTokenizer.from_pretrained(folder))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def conversation(seed: int, rounds: int = 2, system: bool = False) -> Conversation:
    """Words in turns; the same seed gives the same."""
    draw = random.Random(seed)

    def say() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 9))).capitalize() + draw.choice(
            [".", "!", "?\nYes.", " é 🙂"]
        )

    turns = [{"role": "system", "content": say()}] if system else []
    for _ in range(rounds):
        turns += [{"role": "user", "content": say()}, {"role": "assistant", "content": say()}]
    return turns


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def run_values(folder: Path, start: Path, train: Path, /, **sections: dict[str, Any]) -> dict[str, Any]:
    """The YAML of a small run as a dict; ``sections`` replace single keys."""
    values: dict[str, Any] = {
        "run": {"name": "test", "output_dir": str(folder), "seed": 3},
        "model": {"path": str(start)},
        "data": {"train": str(train), "sequence_length": 128},
        "batch": {"micro_batch_size": 4, "global_batch_size": 8},
        "optimizer": {"lr": 1e-2},
        "schedule": {"warmup_steps": 1},
        "training": {"steps": 4, "precision": "fp32"},
        "checkpoint": {"every_steps": 2},
        "logging": {"every_steps": 1, "tensorboard": False},
    }
    for name, keys in sections.items():
        values[name] = {**values.get(name, {}), **keys}
    return values
