"""Loss and bits per byte on the validation data, each token counted once."""

import math
from dataclasses import dataclass

import torch

from megalite.data.gpt_dataset import SequentialDataset
from megalite.training.engine import Engine


@dataclass(frozen=True)
class ValidationResult:
    """Means over the validation tokens that were used."""

    loss: float
    """Nats a token."""
    bits_per_byte: float
    """Comparable between tokenizers: bits a token, by the tokens that a byte of this text takes."""
    tokens: int


def validate(
    engine: Engine, dataset: SequentialDataset, micro_batch_size: int, max_samples: int | None, bytes_per_token: float
) -> ValidationResult:
    """Evaluate on the first ``max_samples`` samples (all of them where None). Collective.

    Every rank takes its share of the samples; ranks that have none left in the last round repeat one with all labels
    masked, because under ZeRO-3 a forward pass is collective.
    """
    count = len(dataset) if max_samples is None else min(max_samples, len(dataset))
    ranks, rank = engine.mesh.data_size, engine.mesh.data_rank
    totals = torch.zeros(2, dtype=torch.float64, device=engine.device)
    for start in range(0, count, micro_batch_size * ranks):
        first = start + rank * micro_batch_size
        rows = [dataset[min(index, count - 1)] for index in range(first, first + micro_batch_size)]
        input_ids = torch.stack([torch.from_numpy(ids) for ids, _ in rows])
        labels = torch.stack([torch.from_numpy(labels) for _, labels in rows])
        labels[max(0, count - first) :] = -100
        totals += engine.evaluate({"input_ids": input_ids, "labels": labels})
    loss_sum, tokens = engine.sum_over_data(totals).tolist()
    loss = loss_sum / tokens
    return ValidationResult(loss, loss / math.log(2) / bytes_per_token, int(tokens))
