"""Validation against sums over the text itself, by ranks that each see their own share."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from megalite.data.index_file import token_dtype, write_index
from megalite.data.samples.gpt_dataset import SequentialDataset
from megalite.training.validation import ValidationResult, validate
from runs import VOCAB

LENGTH, TOKENS = 8, 77
"""Ten samples: nine whole ones, and one with four labels: 76 labels, as the first token is none."""
NATS = np.random.default_rng(1).random((VOCAB, VOCAB)) * 5
"""What our model finds: nats of a token after the one before it."""


@pytest.fixture
def text(tmp_path: Path) -> np.ndarray:
    ids = np.random.default_rng(0).integers(0, VOCAB, TOKENS)
    ids.astype(token_dtype(VOCAB)).tofile(tmp_path / "valid.bin")
    with (tmp_path / "valid.idx").open("wb") as file:
        write_index(file, token_dtype(VOCAB), np.array([30, 40, 7], dtype=np.int32))
    return ids


class Rank:
    """An engine that looks its losses up."""

    def __init__(self, data_rank: int, data_size: int, pipe_size: int, mask_documents: bool) -> None:
        self.mesh = SimpleNamespace(data_rank=data_rank, data_size=data_size, pipe_size=pipe_size)
        self.device = torch.device("cpu")
        self.config = SimpleNamespace(data=SimpleNamespace(mask_documents=mask_documents))
        self.calls: list[int] = []
        self.rows: list[tuple[Any, ...]] = []
        self.own = torch.zeros(2, dtype=torch.float64)
        self.everyones = torch.ones(2, dtype=torch.float64)

    def evaluate(self, batches: list[dict[str, Tensor]]) -> Tensor:
        self.calls.append(len(batches))
        totals = torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            inputs, labels = batch["input_ids"], batch["labels"]
            assert inputs.shape == labels.shape
            counted = labels != -100
            totals[0] += NATS[inputs[counted], labels[counted]].sum()
            totals[1] += counted.sum()
            positions = batch.get("positions", torch.full_like(inputs, -1))
            self.rows += [
                (tuple(i.tolist()), tuple(p.tolist()))
                for i, p, used in zip(inputs, positions, counted, strict=True)
                if used.any()
            ]
        return totals

    def total(self, value: Tensor) -> Tensor:
        self.own = value.clone()
        return self.everyones


def by_ranks(
    prefix: Path, ranks: int, micro: int, most: int | None = None, pipe: int = 1, mask: bool = False
) -> tuple[ValidationResult, list[Rank]]:
    dataset = SequentialDataset(str(prefix), LENGTH)
    engines: list[Any] = [Rank(rank, ranks, pipe, mask) for rank in range(ranks)]
    for _ in range(2):  # to learn what each rank has; then again with the sum over all of them
        for engine in engines:
            engine.calls, engine.rows = [], []
            result = validate(engine, dataset, micro, most, bytes_per_token=2.5)
        everyones = torch.stack([engine.own for engine in engines]).sum(0)
        for engine in engines:
            engine.everyones = everyones
    return result, engines


@pytest.mark.parametrize("pipe", [1, 2])
@pytest.mark.parametrize("micro", [1, 3, 4, 16])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_every_token_counts_once_however_the_samples_are_shared(
    ranks: int, micro: int, pipe: int, text: np.ndarray, tmp_path: Path
) -> None:
    result, engines = by_ranks(tmp_path / "valid", ranks, micro, pipe=pipe)
    nats = NATS[text[:-1], text[1:]].sum()
    assert result.tokens == TOKENS - 1
    assert result.loss == pytest.approx(nats / (TOKENS - 1))
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / ((TOKENS - 1) * 2.5))
    assert len({tuple(engine.calls) for engine in engines}) == 1  # a forward pass is collective


@pytest.mark.parametrize(("most", "labels"), [(1, 8), (5, 40), (9, 72), (10, 76), (11, 76), (10**9, 76)])
def test_the_first_samples_are_used(most: int, labels: int, text: np.ndarray, tmp_path: Path) -> None:
    for ranks, micro in ((1, 1), (1, 4), (3, 2)):
        result, _ = by_ranks(tmp_path / "valid", ranks, micro, most)
        assert result.tokens == labels
        assert result.loss == pytest.approx(NATS[text[:labels], text[1 : labels + 1]].mean())


def test_a_pipeline_gets_enough_micro_batches_to_stay_busy(text: np.ndarray, tmp_path: Path) -> None:
    assert by_ranks(tmp_path / "valid", 1, 1)[1][0].calls == [1] * 10
    assert by_ranks(tmp_path / "valid", 1, 1, pipe=2)[1][0].calls == [8, 2]
    assert by_ranks(tmp_path / "valid", 2, 1, pipe=2)[1][0].calls == [5]


@pytest.mark.parametrize("ranks", [1, 3])
def test_masked_documents_bring_the_positions_of_their_own_rows(ranks: int, text: np.ndarray, tmp_path: Path) -> None:
    _, engines = by_ranks(tmp_path / "valid", ranks, 2, mask=True)
    begins = np.array([0, 30, 70])
    expected = set()
    for start in range(0, TOKENS - 1, LENGTH):
        places = np.arange(start, min(start + LENGTH, TOKENS - 1))
        documents = np.array([begins[begins <= place].max() for place in places])
        expected.add((tuple(text[places]), tuple(places - np.maximum(documents, start))))
    seen = [row for engine in engines for row in engine.rows]
    cut = [4 if inputs[4:] == (0,) * 4 else LENGTH for inputs, _ in seen]
    assert {(inputs[:n], positions[:n]) for (inputs, positions), n in zip(seen, cut, strict=True)} == expected
    assert len(seen) == 10


def test_without_masked_documents_there_are_no_positions(text: np.ndarray, tmp_path: Path) -> None:
    _, (engine,) = by_ranks(tmp_path / "valid", 1, 2)
    assert all(positions == (-1,) * LENGTH for _, positions in engine.rows)
