"""Small runs for the tests: a config, a tokenizer folder, token files without any corpus, and training under a layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from megalite.config.schema import RunConfig
from megalite.data.index_file import token_dtype, write_index
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.loader import BatchLoader
from megalite.data.training_data import TrainingData
from megalite.parity.case import Case
from megalite.parity.launch import run_on_ranks
from megalite.parity.on_ranks import engine_of
from megalite.training.checkpoint.load import load_checkpoint
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.checkpoint.training_state import TrainingState, check_data_order, resumed_state
from megalite.training.loop import TrainingLoop
from megalite.training.metrics import Metrics
from megalite.training.prepared_run import PreparedRun
from megalite.training.utilization import Utilization

VOCAB = 61


def checksums(config: RunConfig, of_each: str = "checksum") -> dict[str, str]:
    """Stands for the digests of the training files."""
    return {source.prefix: of_each for source in config.data.train}


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
    vocabulary = {f"w{number}" if number != 1 else "<|end|>": number for number in range(VOCAB)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(["<|end|>"])
    words.save(str(folder / "tokenizer" / "tokenizer.json"))
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))


def write_documents(prefix: Path, lengths: list[int], seed: int = 0) -> np.ndarray:
    """``PREFIX.bin`` / ``.idx`` with documents of these lengths; returns their tokens, most of them small numbers."""
    tokens = np.random.default_rng(seed).zipf(1.5, sum(lengths)) % 90
    tokens.astype(token_dtype(100)).tofile(f"{prefix}.bin")
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, token_dtype(100), np.array(lengths, dtype=np.int32))
    return tokens


def train_case(folder: Path, name: str, layout: str, resume_from: Path | None = None) -> None:
    """Train the run ``folder/name`` under a layout, from the beginning or from a checkpoint."""
    run_on_ranks(_train_on_this_rank, Case.parse(layout).world_size, folder, name, layout, resume_from)


def _train_on_this_rank(folder: Path, name: str, layout: str, resume_from: Path | None) -> None:
    case = Case.parse(layout)
    engine, ds_config = engine_of(run_config(folder, run={"name": name}), case)
    config, mesh = engine.config, engine.mesh
    run = folder / name
    run.mkdir(exist_ok=True)
    start = TrainingState(0, 0, config.run.seed, config.data.sequence_length, checksums(config))
    dataset = GPTDataset(config.data.train[0].prefix, config.data.sequence_length, config.run.seed)
    if resume_from is not None:
        verify_files(resume_from)
        start = resumed_state(resume_from, config, checksums(config))
        check_data_order(resume_from, start, dataset)
        load_checkpoint(engine, config, resume_from, start)
    batch = config.batch
    sizes = (batch.micro_batch_size, batch.global_batch_size, mesh.data_rank, mesh.data_size)
    loader = BatchLoader(dataset, *sizes, config.data.mask_documents)
    is_first = torch.distributed.get_rank() == 0
    with Metrics(run, config.training.steps, start.step, is_first, tensorboard=False) as metrics:
        prepared = PreparedRun(config, ds_config, run, TrainingData(dataset, None, {}), start)
        TrainingLoop(engine, prepared, loader, Utilization(1.0, 1.0), metrics).train()


def records(run: Path) -> dict[int, Any]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: (line["loss"], line["grad_norm"], line["lr"]) for line in lines if line["event"] == "train"}


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.name}:{name}": tensor
        for path in sorted(checkpoint.glob("*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }
