"""What is written and printed, key by key."""

import json
from pathlib import Path
from typing import Any

import pytest

from megalite.training.metrics import Metrics
from megalite.training.validation import ValidationResult

VALUES = {
    "loss": 2.34567,
    "grad_norm": 0.98765,
    "lr": 3e-4,
    "tokens_per_second": 1234567.8,
    "mfu": 0.4321,
    "consumed_samples": 800,
    "read_fingerprint": "00ff",
}


def tell(run: Path, is_writer: bool = True, tensorboard: bool = False) -> None:
    with Metrics(run, 100, 6, is_writer, tensorboard) as metrics:
        metrics.advance()
        metrics.log_step(7, VALUES)
        metrics.log_validation(8, ValidationResult(loss=2.5, bits_per_byte=0.75, tokens=12345))
        metrics.log_event(9, "checkpoint", "saved it")


def test_every_event_is_a_line_of_json(tmp_path: Path) -> None:
    tell(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("time") > 1e9 for line in lines)
    assert lines == [
        {"event": "train", "step": 7, **VALUES},
        {"event": "valid", "step": 8, "loss": 2.5, "bits_per_byte": 0.75},
        {"event": "checkpoint", "step": 9, "text": "saved it"},
    ]


def test_a_second_writer_adds_to_the_file(tmp_path: Path) -> None:
    tell(tmp_path)
    tell(tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 6


def test_a_line_is_in_the_file_before_the_next_one_is_known(tmp_path: Path) -> None:
    with Metrics(tmp_path, 100, 0, True, tensorboard=False) as metrics:
        metrics.log_event(1, "resume", "resumed")
        assert "resumed" in (tmp_path / "metrics.jsonl").read_text()


def test_the_console_shows_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "step      7  loss 2.3457  norm 0.988  lr 3.00e-04  tokens/s 1,234,568  MFU 43.2%",
        "step      8  validation loss 2.5000  bits per byte 0.7500  (12,345 tokens)",
        "step      9  saved it",
    ]


def test_only_one_rank_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(tmp_path, is_writer=False, tensorboard=True)
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


def test_tensorboard_gets_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Board:
        def __init__(self, folder: str, purge_step: int) -> None:
            told.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Board)
    tell(tmp_path, tensorboard=True)
    numbers = [(f"train/{key}", value, 7) for key, value in VALUES.items() if not isinstance(value, str)]
    valid = [("valid/loss", 2.5, 8), ("valid/bits_per_byte", 0.75, 8)]
    assert told == [(str(tmp_path / "tensorboard"), 6), *numbers, *valid, "closed"]


def test_the_bar_counts_steps_from_where_the_run_goes_on(tmp_path: Path) -> None:
    with Metrics(tmp_path, 100, 6, True, tensorboard=False) as metrics:
        metrics.advance()
        metrics.advance()
        (task,) = metrics._progress.tasks
        assert (task.completed, task.total) == (8, 100)
