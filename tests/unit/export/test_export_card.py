"""The model card is read by the hub's own library and tells the run's facts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from megalite.export.exported_folder import ExportOptions, export_checkpoint


def record(step: int, event: str, **values: float) -> str:
    return json.dumps({"event": event, "step": step, **values})


def test_the_card_tells_the_facts_of_the_run(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint, _ = make_checkpoint(schedule={"decay": "linear"})
    lines = [
        record(4, "valid", loss=3.5, bits_per_byte=1.25),
        record(6, "train", loss=9.9),
        '{"event": "train", "st',  # a run was killed here, and resumed
        record(6, "train", loss=2.125),
        record(6, "checkpoint"),
        record(7, "train", loss=1.0),
        record(8, "valid", loss=1.0, bits_per_byte=0.5),
    ]
    (checkpoint.parent / "metrics.jsonl").write_text("\n".join(lines))
    error = export_checkpoint(checkpoint, tmp_path / "out", ExportOptions("bf16", license_name="apache-2.0")).error
    assert error is not None
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.license == "apache-2.0"
    assert "llama" in (card.data.tags or [])
    for fact in (
        "| parameters | 17,472 |",
        "| decoder layers | 2 |",
        "| tokens seen | 768 (6 steps, 8 samples of 16 tokens in each) |",
        "| training loss | 2.1250 nats a token, over the batch of this step |",
        "| validation loss | 3.5000 nats a token, 1.2500 bits per byte, at step 4 |",
        "| optimizer | name adamw, lr 0.01, betas [0.9, 0.95], eps 1e-08, weight_decay 0.1, gradient_clipping 1.0 |",
        "| schedule | warmup_steps 2, decay linear, min_lr_ratio 0.1,",
        "| precision | bf16 |",
        "| ZeRO stage | 3 |",
        "| parallel sizes | tensor_parallel_size 1, ",
        "| seed | 5 |",
        f"| `{tmp_path / 'train'}` | checksum `0123abcd` |",
        "cast from fp32 master weights (20 of 20 tensors)",
        "256 random token ids (seed 0), because the run has no validation data",
        f"| bf16 weights, computed in fp32 | {error.of_weights.largest:.3g} | {error.of_weights.mean:.3g} |",
        f"| bf16 weights, computed in bf16 | {error.of_arithmetic.largest:.3g} |",
    ):
        assert fact in card.text, fact


def test_what_is_not_known_is_not_told(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint, _ = make_checkpoint("fp32")
    export_checkpoint(checkpoint, tmp_path / "out", ExportOptions("fp16", measures=False))
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license is None
    assert "loss" not in card.text
    assert "fp16, cast from the run's weights" in card.text
    assert "The logit error of this export was not measured." in card.text


def test_a_blend_shows_its_weights(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    prefix = str(tmp_path / "train")
    checkpoint, _ = make_checkpoint(data={"train": [{"prefix": prefix, "weight": 3}, "other"]})
    export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(measures=False))
    assert f"| `{prefix}` | checksum `0123abcd`, weight 3 |" in (tmp_path / "out" / "README.md").read_text()


def test_a_checkpoint_with_keys_of_another_version_is_exported(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    checkpoint, _ = make_checkpoint()
    run = yaml.safe_load((checkpoint / "run.yaml").read_text())
    run["training"]["renamed_since"] = True
    run["schedule"]["curvature"] = 2
    (checkpoint / "run.yaml").write_text(yaml.safe_dump(run))
    export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(measures=False, verifies=False))
    assert "curvature 2" in (tmp_path / "out" / "README.md").read_text()
