"""The micro-batches of an optimizer step, as a pure function of the samples consumed before it."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from megalite.data.samples.blend import BlendedDataset
from megalite.data.samples.fingerprint import MODULUS, sample_fingerprint
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.verification import Verification

Batch = dict[str, Tensor]


class BatchLoader:
    """Micro-batches of this data rank: ``{"input_ids": (B, S), "labels": (B, S)}``, labels already shifted.

    With masked documents there are also ``"positions": (B, S)``, which restart at 0 with every document. Row b of
    micro-batch m on rank r of d is global sample ``consumed + (m*d + r)*B + b``: which samples a step sees does not
    depend on the layout. While a step runs, a thread reads the batches of the next one.
    """

    def __init__(
        self,
        dataset: GPTDataset | BlendedDataset,
        micro_batch_size: int,
        global_batch_size: int,
        data_rank: int,
        data_size: int,
        mask_documents: bool = False,
        verification: Verification | None = None,
    ) -> None:
        """``global_batch_size`` is a multiple of ``micro_batch_size * data_size`` (the config checks it).

        Args:
            verification: the background check of the dataset's files; a damaged file ends the run at the next step.
        """
        self.dataset = dataset
        self.micro_batch_size, self.global_batch_size = micro_batch_size, global_batch_size
        self._verification = verification
        self._rank, self._ranks, self._mask_documents = data_rank, data_size, mask_documents
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: tuple[int, Future[tuple[list[Batch], int]]] | None = None
        self.fingerprint = 0
        """The fingerprint of all samples of this rank so far (see ``megalite.data.samples.fingerprint``)."""

    def step_batches(self, consumed_samples: int) -> list[Batch]:
        """All micro-batches of this rank for the optimizer step that begins at ``consumed_samples``.

        Raises: DataError if a file does not have its checksum.
        """
        if self._verification is not None:
            self._verification.raise_if_damaged()
        if self._ahead is not None and self._ahead[0] == consumed_samples:
            batches, fingerprint = self._ahead[1].result()
        else:
            batches, fingerprint = self._reader.submit(self._read_step, consumed_samples).result()
        self.fingerprint = (self.fingerprint + fingerprint) % MODULUS
        following = consumed_samples + self.global_batch_size
        self._ahead = (following, self._reader.submit(self._read_step, following))
        return batches

    def _read_step(self, consumed: int) -> tuple[list[Batch], int]:
        together = self.micro_batch_size * self._ranks
        starts = range(consumed + self._rank * self.micro_batch_size, consumed + self.global_batch_size, together)
        batches, fingerprint = [], 0
        for start in starts:
            numbers = range(start, start + self.micro_batch_size)
            rows = [self.dataset[number] for number in numbers]
            fingerprint += sum(map(sample_fingerprint, numbers, rows))
            tokens = torch.from_numpy(np.stack(rows))
            batch = {"input_ids": tokens[:, :-1].contiguous(), "labels": tokens[:, 1:].contiguous()}
            if self._mask_documents:
                batch["positions"] = torch.from_numpy(np.stack([self.dataset.positions(n) for n in numbers]))
            batches.append(batch)
        return batches, fingerprint
