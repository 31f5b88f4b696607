"""A folder with a healthy input of every kind, small enough to be copied for each case."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import yaml
import zstandard

SUBJECTS = (
    "the old river,a small house,the young teacher,an engine,the quiet street,this function,a second model".split(",")
)
VERBS = "returns,crosses,follows,explains,carries,remembers,opens,has been".split(",")
ENDINGS = "to the garden,with some care,of the first kind,and then the rest,in a long line,at the end of it".split(",")


def document(number: int, sentences: int = 12) -> str:
    """English enough for the filters, another text for every ``number``."""
    choose = random.Random(number)
    made = (
        f"{choose.choice(SUBJECTS)} {choose.choice(VERBS)} {choose.choice(SUBJECTS)} {choose.choice(ENDINGS)} "
        f"{choose.randrange(10_000)}".capitalize()
        for _ in range(sentences)
    )
    return ". ".join(made) + "."


def write_texts(world: Path) -> None:
    """Documents in several forms, labels, prompts, conversations, pairs, items of an evaluation set."""
    rows = [json.dumps({"text": document(number), "meta": {"n": number}}) for number in range(60)]
    (world / "docs.jsonl").write_text("\n".join(rows) + "\n")
    (world / "docs.jsonl.zst").write_bytes(zstandard.compress(("\n".join(rows) + "\n").encode()))
    (world / "docs.txt").write_text("\n".join(document(number) for number in range(20)))
    labelled = [
        {"text": ("awful nasty " if number % 2 else "lovely kind ") + document(number, 3), "label": "ab"[number % 2]}
        for number in range(60)
    ]
    _lines(world / "labelled.jsonl", labelled)
    _lines(world / "prompts.jsonl", [{"prompt": document(number, 1)} for number in range(3)])
    _lines(world / "eval.jsonl", [{"question": document(1000 + number, 2)} for number in range(20)])
    turns = [
        {"messages": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": f"It is {n}."}]}
        for n in range(24)
    ]
    _lines(world / "chats.jsonl", turns)
    pairs = [
        {"prompt": turn["messages"][:1], "chosen": turn["messages"][1:], "rejected": [_answer("No.")]} for turn in turns
    ]
    _lines(world / "pairs.jsonl", pairs)


def write_configs(world: Path, vocab_size: int) -> None:
    """The YAML and JSON files of the commands; all their paths are relative to the world."""
    run: dict[str, Any] = {
        "run": {"name": "run", "output_dir": "runs", "seed": 5},
        "model": {
            "vocab_size": vocab_size,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 64,
            "tie_word_embeddings": True,
        },
        "data": {"train": "train", "valid": "valid", "tokenizer": "model", "sequence_length": 16},
        "batch": {"micro_batch_size": 2, "global_batch_size": 4},
        "optimizer": {"lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "gradient_clipping": 1.0},
        "schedule": {"warmup_steps": 1, "decay": "cosine", "min_lr_ratio": 0.1},
        "training": {"steps": 2, "precision": "fp32", "activation_checkpointing": "none", "timeout_seconds": 60},
        "parallel": {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "context_parallel_size": 1},
        "validation": {"every_steps": 2, "max_samples": 4},
        "checkpoint": {"every_steps": 2, "keep_last": 1},
        "logging": {"every_steps": 1, "tensorboard": False},
        "hardware": {"peak_tflops": 1.0},
    }
    _yaml(world / "run.yaml", run)
    shared = {key: run[key] for key in ("batch", "checkpoint", "logging")}
    tuning: dict[str, Any] = {
        "run": {"name": "tuned", "output_dir": "runs", "seed": 5},
        "model": {"path": "model"},
        "optimizer": {"lr": 1e-3, "weight_decay": 0.0},
        "schedule": {"warmup_steps": 1, "decay": "cosine"},
        "training": {"steps": 2, "precision": "fp32"},
    } | shared
    _yaml(world / "sft.yaml", tuning | {"data": {"train": "chats.jsonl", "sequence_length": 128}})
    preference = {
        "preference": {"method": "dpo", "beta": 0.1},
        "data": {"train": "pairs.jsonl", "sequence_length": 128},
    }
    _yaml(world / "dpo.yaml", tuning | preference)
    recipe = {
        "sources": [{"kind": "files", "paths": ["docs.jsonl"]}],
        "filters": [{"kind": "prose", "min_words": 5}],
        "dedup": {"threshold": 0.8, "bands": 4, "rows": 4},
        "valid_fraction": 0.1,
    }
    _yaml(world / "recipe.yaml", recipe)
    (world / "ds.json").write_text(
        json.dumps({"zero_optimization": {"stage": 1, "reduce_bucket_size": 1000, "overlap_comm": False}})
    )
    task = {
        "task": "own",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
    }
    _yaml(world / "task.yaml", task)
    items = [{"question": document(n, 1), "choices": ["yes", "no"], "gold": n % 2} for n in range(3)]
    _lines(world / "items.jsonl", items)


def make_world(world: Path) -> Path:
    """Fill the empty folder ``world``; run it in a process of its own, it starts threads and trains a model."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from chats import write_model

    from megalite.cli import main

    def run(*words: str) -> None:
        sys.argv = ["megalite", *words]
        main()

    write_texts(world)
    write_model(world / "model")
    vocab_size = json.loads((world / "model" / "config.json").read_text())["vocab_size"]
    write_configs(world, vocab_size)
    import contextlib
    import os

    with contextlib.chdir(world):
        for name in ("train", "train2", "valid"):
            words = ["--input", "docs.jsonl", "--tokenizer", "model", "--output_prefix", name, "--workers", "1"]
            run("preprocess-data", *words)
        for suffix in (".bin", ".idx"):
            shutil.copy(f"train{suffix}", f"raw{suffix}")
        run("prepare-corpus", "--recipe", "recipe.yaml", "--output", "dry", "--dry_run")
        os.environ.pop("WORLD_SIZE", None)
        run("pretrain", "--config", "run.yaml", "--ds_config", "ds.json")
        (world / "runs" / "run" / "step-000002").rename(world / "step")
        shutil.rmtree(world / "runs")
    return world


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _yaml(path: Path, value: Any) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False))


if __name__ == "__main__":
    import sys

    make_world(Path(sys.argv[1]))
