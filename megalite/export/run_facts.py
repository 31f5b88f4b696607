"""The facts of a run for its model card, read from the checkpoint and the run's ``metrics.jsonl``."""

import json
from pathlib import Path
from typing import Any

from megalite.config.ds_config import zero_stage
from megalite.export.checkpoint_source import Checkpoint

Facts = dict[str, str]


def model_facts(checkpoint: Checkpoint) -> Facts:
    """Architecture and size."""
    model = checkpoint.model
    parameters = sum(shape.numel() for shape in checkpoint.tensors.shapes.values())
    attention = "grouped-query" if model.key_value_heads < model.num_attention_heads else "multi-head"
    rope = model.rope_parameters
    scaling = "" if rope.rope_type == "default" else f", {rope.rope_type} scaling by {rope.factor:g}"
    return {
        "architecture": f"Llama decoder: RoPE, RMSNorm, {attention} attention, SwiGLU",
        "parameters": f"{parameters:,}",
        "decoder layers": f"{model.num_hidden_layers}",
        "hidden size, intermediate size": f"{model.hidden_size}, {model.intermediate_size}",
        "query heads, key/value heads, head dim": (
            f"{model.num_attention_heads}, {model.key_value_heads}, {model.head_size}"
        ),
        "vocabulary": f"{model.vocab_size:,}, {'tied' if model.tie_word_embeddings else 'separate'} output head",
        "positions": f"{model.max_position_embeddings:,}, RoPE base {rope.rope_theta:g}{scaling}",
    }


def training_facts(checkpoint: Checkpoint) -> Facts:
    """Training settings, named as in the run's YAML, and losses."""
    run, state = checkpoint.run, checkpoint.state
    step, length, batch = state["step"], state["sequence_length"], run["batch"]["global_batch_size"]
    tokens = state["consumed_samples"] * length
    return {
        "run": run["run"]["name"],
        "step": f"{step:,} of {run['training']['steps']:,}",
        "tokens seen": f"{tokens:,} ({step:,} steps, {batch:,} samples of {length:,} tokens in each)",
        **_losses(checkpoint.folder.parent / "metrics.jsonl", step),
        "optimizer": _section(run["optimizer"]),
        "schedule": _section(run["schedule"]),
        "precision": run["training"]["precision"],
        "parallel sizes": _section(run["parallel"]),
        "ZeRO stage": f"{zero_stage(checkpoint.ds_config)}",
        "seed": f"{state['seed']}",
    }


def data_facts(checkpoint: Checkpoint) -> Facts:
    """Maps training prefixes to the checksums of their ``.bin``, with weights if there are several."""
    weights = {source["prefix"]: source["weight"] for source in checkpoint.run["data"]["train"]}
    return {
        f"`{prefix}`": f"checksum `{digest}`" + (f", weight {weights[prefix]:g}" if len(weights) > 1 else "")
        for prefix, digest in checkpoint.state["data"].items()
    }


def _section(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)


def _losses(metrics: Path, step: int) -> Facts:
    """Training loss of this step and the latest validation up to it, if ``metrics.jsonl`` has them."""
    last: dict[str, dict[str, Any]] = {}
    if metrics.is_file():
        with metrics.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                    if record["step"] <= step:
                        last[record["event"]] = record  # a resumed run repeats steps: the later record counts
                except (json.JSONDecodeError, KeyError, TypeError):
                    continue  # an incomplete line of a killed run
    facts = {}
    if "train" in last and last["train"]["step"] == step:
        facts["training loss"] = f"{last['train']['loss']:.4f} nats a token, over the batch of this step"
    if "valid" in last:
        at = "" if last["valid"]["step"] == step else f", at step {last['valid']['step']:,}"
        bits = f"{last['valid']['bits_per_byte']:.4f} bits per byte"
        facts["validation loss"] = f"{last['valid']['loss']:.4f} nats a token, {bits}{at}"
    return facts
