"""The micro-batches of an optimizer step, as a pure function of the samples consumed before it."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from megalite.data.blend import BlendedDataset
from megalite.data.gpt_dataset import GPTDataset

Batch = dict[str, Tensor]


class BatchLoader:
    """Micro-batches of this data-parallel rank: ``{"input_ids": (B, S), "labels": (B, S)}``, labels already shifted.

    Row b of micro-batch m on rank r of d is global sample ``consumed + (m*d + r)*B + b``: which samples a step sees does
    not depend on the layout. While a step runs, a thread reads the batches of the next one.
    """

    def __init__(
        self,
        dataset: GPTDataset | BlendedDataset,
        micro_batch_size: int,
        global_batch_size: int,
        data_parallel_rank: int,
        data_parallel_size: int,
    ) -> None:
        """``global_batch_size`` divides by ``micro_batch_size * data_parallel_size`` (the config has seen to it)."""
        self.dataset = dataset
        self.micro_batch_size, self.global_batch_size = micro_batch_size, global_batch_size
        self._rank, self._ranks = data_parallel_rank, data_parallel_size
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: tuple[int, Future[list[Batch]]] | None = None

    def step_batches(self, consumed_samples: int) -> list[Batch]:
        """All micro-batches of this rank for the optimizer step that begins at ``consumed_samples``."""
        if self._ahead is not None and self._ahead[0] == consumed_samples:
            batches = self._ahead[1].result()
        else:
            batches = self._reader.submit(self._read_step, consumed_samples).result()
        following = consumed_samples + self.global_batch_size
        self._ahead = (following, self._reader.submit(self._read_step, following))
        return batches

    def _read_step(self, consumed: int) -> list[Batch]:
        together = self.micro_batch_size * self._ranks
        starts = range(consumed + self._rank * self.micro_batch_size, consumed + self.global_batch_size, together)
        return [collate(self.dataset.__getitem__, start, self.micro_batch_size) for start in starts]


def collate(sample: Callable[[int], np.ndarray], start: int, count: int) -> Batch:
    """Samples ``start .. start + count - 1`` as one micro-batch."""
    rows = torch.from_numpy(np.stack([sample(number) for number in range(start, start + count)]))
    return {"input_ids": rows[:, :-1].contiguous(), "labels": rows[:, 1:].contiguous()}
