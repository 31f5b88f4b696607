"""Small runs for the tests: a config, a tokenizer folder and token files, without any corpus."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from megalite.config.schema import RunConfig
from megalite.data.index_file import token_dtype, write_index

VOCAB = 61


def run_config(folder: Path, **sections: dict[str, Any]) -> RunConfig:
    """A tiny run under ``folder``; ``sections`` replace single keys."""
    values: dict[str, dict[str, Any]] = {
        "run": {"name": "test", "output_dir": str(folder), "seed": 5},
        "model": {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "initializer_range": 0.1,
        },
        "data": {"train": str(folder / "train"), "tokenizer": str(folder / "tokenizer"), "sequence_length": 16},
        "batch": {"micro_batch_size": 2, "global_batch_size": 8},
        "optimizer": {"lr": 1e-2},
        "schedule": {"warmup_steps": 2},
        "training": {"steps": 6, "precision": "fp32"},
        "checkpoint": {"every_steps": 3},
        "logging": {"every_steps": 1, "tensorboard": False},
        "hardware": {"peak_tflops": 1.0},
    }
    for name, keys in sections.items():
        values.setdefault(name, {}).update(keys)
    return RunConfig.model_validate(values)


def write_data(folder: Path, tokens: int = 5000) -> None:
    """``train.bin`` / ``.idx`` with a pattern that can be learned, and a tokenizer folder."""
    random = np.random.default_rng(0)
    ids = (np.cumsum(random.integers(1, 4, tokens)) % VOCAB).astype(token_dtype(VOCAB))
    ids.tofile(folder / "train.bin")
    with (folder / "train.idx").open("wb") as file:
        write_index(file, token_dtype(VOCAB), np.full(tokens // 50, 50, dtype=np.int32))
    (folder / "tokenizer").mkdir()
    vocabulary = {f"w{number}": number for number in range(VOCAB)}
    Tokenizer(models.WordLevel(vocabulary, unk_token="w0")).save(str(folder / "tokenizer" / "tokenizer.json"))
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "w1"}))
