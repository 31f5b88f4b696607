"""A small model and texts that the evaluation tests share; no test changes them."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM

from megalite.corpus.sources.installed_docs import installed_documents
from megalite.tokenizer.train import train_tokenizer


@pytest.fixture(scope="session")
def held_out_texts() -> list[str]:
    return [document.text[:3000] for document in installed_documents(300_000)]


@pytest.fixture(scope="session")
def model_folder(held_out_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama and a tokenizer trained on the texts."""
    path = tmp_path_factory.mktemp("model")
    (path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in held_out_texts))
    train_tokenizer([str(path / "text.jsonl")], path / "hf", 500, Console(quiet=True))
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=500, max_position_embeddings=512, initializer_range=0.2, eos_token_id=1, **shape)
    LlamaForCausalLM(config).save_pretrained(path / "hf")
    return path / "hf"
