"""Loss and bits per byte on the validation data; every token counts once."""

import math
from dataclasses import dataclass

import torch

from megalite.config.labels import IGNORE
from megalite.data.samples.gpt_dataset import SequentialDataset
from megalite.training.engine import Batch, Engine

PIPELINED = 4
"""Micro-batches in flight per pipeline stage, so that stages rarely wait."""


@dataclass(frozen=True)
class ValidationResult:
    """Means over the validation tokens."""

    loss: float
    """Nats per token."""
    bits_per_byte: float
    """Bits per token divided by bytes per token; comparable between tokenizers."""
    tokens: int


def validate(
    engine: Engine, dataset: SequentialDataset, micro_batch_size: int, max_samples: int | None, bytes_per_token: float
) -> ValidationResult:
    """Evaluate on the first ``max_samples`` samples, or on all of them if None. Collective.

    Every data rank evaluates its share of the samples. A rank without samples in the last round repeats one with all labels
    masked, because a forward pass is collective.
    """
    count = len(dataset) if max_samples is None else min(max_samples, len(dataset))
    ranks, rank = engine.mesh.data_size, engine.mesh.data_rank
    starts = range(0, count, micro_batch_size * ranks)
    together = PIPELINED * engine.mesh.pipe_size if engine.mesh.pipe_size > 1 else 1
    totals = torch.zeros(2, dtype=torch.float64, device=engine.device)
    for number in range(0, len(starts), together):
        firsts = [start + rank * micro_batch_size for start in starts[number : number + together]]
        totals += engine.evaluate([_batch(engine, dataset, first, micro_batch_size, count) for first in firsts])
    loss_sum, tokens = engine.total(totals).tolist()
    loss = loss_sum / tokens
    return ValidationResult(loss, loss / math.log(2) / bytes_per_token, int(tokens))


def _batch(engine: Engine, dataset: SequentialDataset, first: int, size: int, count: int) -> Batch:
    numbers = [min(index, count - 1) for index in range(first, first + size)]
    rows = [dataset[number] for number in numbers]
    labels = torch.stack([torch.from_numpy(labels) for _, labels in rows])
    labels[max(0, count - first) :] = IGNORE
    batch = {"input_ids": torch.stack([torch.from_numpy(ids) for ids, _ in rows]), "labels": labels}
    if engine.config.data.mask_documents:
        batch["positions"] = torch.stack([torch.from_numpy(dataset.positions(number)) for number in numbers])
    return batch
