"""Whole runs of ``tools/sft.py`` in one process, on a model of two layers."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from chats import conversation, run_values, write_rows
from safetensors.torch import load_file

from megalite.config.errors import ConfigError
from megalite.config.labels import IGNORE
from megalite.config.schema import ScheduleSection
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.schema import SftRun
from megalite.posttraining.settings import Settings
from megalite.posttraining.sft import fine_tune
from megalite.training.schedule import learning_rate

pytest.importorskip("trl")

SCHEDULE = ScheduleSection(warmup_steps=1)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    return write_rows(folder / "chat.jsonl", [{"messages": conversation(seed)} for seed in range(40)])


def settings(folder: Path, model: Path, rows: Path, resume: str | None = None, **sections: Any) -> Settings[SftRun]:
    config = SftRun.model_validate(run_values(folder, model, rows, **sections))
    return Settings(config, "run.yaml", None, "none", resume, False, 1)


def is_held_out(seed: int, number: int) -> bool:
    """Written anew: the first 56 bits of a digest of seed and row, as a fraction."""
    return int(hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()[:14], 16) / 16**14 < 0.2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, chat_model: Path, rows: Path) -> tuple[Path, Any]:
    """An uninterrupted run of four steps with validation."""
    folder = tmp_path_factory.mktemp("finished")
    return folder / "test", fine_tune(settings(folder, chat_model, rows, data={"valid_fraction": 0.2}))


def test_the_first_loss_is_the_mean_over_the_assistants_tokens(finished: tuple[Path, Any], chat_model: Path) -> None:
    """The validation before the first step, recomputed sample by sample with transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, reporter = finished
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(chat_model), "m")
    model = AutoModelForCausalLM.from_pretrained(chat_model, dtype=torch.float32)
    nats = tokens = 0.0
    for chat in [encoder.encode(conversation(seed)) for seed in range(40) if is_held_out(3, seed)]:
        labels = torch.tensor([chat.labels])
        with torch.no_grad():
            mean = model(torch.tensor([chat.ids]), labels=labels).loss
        count = int((labels[:, 1:] != IGNORE).sum())
        nats, tokens = nats + float(mean) * count, tokens + count
    assert reporter.first["loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert reporter.first["tokens"] == tokens
    assert reporter.last["loss"] < reporter.first["loss"]


def test_the_learning_rate_is_pretrainings(finished: tuple[Path, Any]) -> None:
    lines = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if line["event"] == "train"]
    assert rates == pytest.approx([learning_rate(SCHEDULE, 1e-2, step, 4) for step in range(4)])


def test_the_exported_model_stops_at_the_end_of_a_turn(finished: tuple[Path, Any]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = finished[0] / "hf"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.generation_config.eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>"), 1]
    assert "<|im_start|>" in tokenizer.chat_template
    assert not (folder / "training_args.bin").exists()
    assert not list(finished[0].glob("*.partial"))


def test_a_resumed_run_equals_the_uninterrupted_one(finished: tuple[Path, Any], chat_model: Path, rows: Path) -> None:
    import shutil

    run, reporter = finished
    broken = run.parent / "broken"
    shutil.copytree(run, broken / "test", ignore=shutil.ignore_patterns("hf", "checkpoint-4"))
    (broken / "test" / "checkpoint-3").mkdir()  # a checkpoint that was being written when the run was killed
    again = fine_tune(settings(broken, chat_model, rows, resume="", data={"valid_fraction": 0.2}))
    assert set(again.losses) == {3, 4}
    assert again.losses == {step: reporter.losses[step] for step in (3, 4)}
    assert again.first["loss"] == pytest.approx(reporter.first["loss"])
    ours, theirs = (load_file(folder / "hf/model.safetensors") for folder in (broken / "test", run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_merged_adapter_says_what_base_and_adapter_say(
    tmp_path: Path, chat_model: Path, rows: Path, finished: tuple[Path, Any]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    data, batch = {"packing": True, "valid_fraction": 0.2}, {"global_batch_size": 4}
    reporter = fine_tune(settings(tmp_path, chat_model, rows, lora={"rank": 4}, data=data, batch=batch))
    # A new adapter changes nothing yet, and packing must not change the validation.
    assert reporter.first["loss"] == pytest.approx(finished[1].first["loss"], rel=1e-5)
    assert reporter.first["tokens"] == finished[1].first["tokens"]
    run = tmp_path / "test"
    base = AutoModelForCausalLM.from_pretrained(chat_model)
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        before = base(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(run / "hf")(ids).logits
        stacked = PeftModel.from_pretrained(base, run / "adapter")(ids).logits
    torch.testing.assert_close(merged, stacked, atol=1e-5, rtol=1e-5)
    assert (merged - before).abs().max() > 1e-2


def test_another_config_does_not_resume_a_run_folder(
    finished: tuple[Path, Any], chat_model: Path, rows: Path, tmp_path: Path
) -> None:
    import shutil

    with pytest.raises(ConfigError, match="this run folder exists; resume the run with --resume"):
        fine_tune(settings(finished[0].parent, chat_model, rows))
    with pytest.raises(ConfigError, match="the run is finished"):
        fine_tune(settings(finished[0].parent, chat_model, rows, resume=""))
    with pytest.raises(ConfigError, match="no such run folder"):
        fine_tune(settings(tmp_path, chat_model, rows, resume=""))
    shutil.copytree(finished[0], tmp_path / "test", ignore=shutil.ignore_patterns("hf"))
    with pytest.raises(ConfigError, match=r"optimizer\.lr was 0\.01 in .* and is 0\.02 now"):
        changed = {"data": {"valid_fraction": 0.2}, "optimizer": {"lr": 2e-2}}
        fine_tune(settings(tmp_path, chat_model, rows, resume="", **changed))
