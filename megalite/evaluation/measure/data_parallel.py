"""The processes of one launch: each holds the whole model and answers its share of the questions."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DataParallelGroup:
    """This process among the others. A single process needs no launcher."""

    rank: int = 0
    world_size: int = 1

    @staticmethod
    def launched() -> "DataParallelGroup":
        """Join the group of ``accelerate launch`` or torchrun.

        Collectives wait without a timeout. If a rank fails, the launcher ends the job.
        """
        import os
        from datetime import timedelta

        import torch

        if not torch.accelerator.is_available():
            os.environ["ACCELERATE_USE_CPU"] = "true"  # otherwise accelerate ignores torchrun's ranks on CPU
        from accelerate import Accelerator, InitProcessGroupKwargs

        accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(weeks=52))])
        return DataParallelGroup(accelerator.process_index, accelerator.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this rank writes and prints."""
        return self.rank == 0

    def barrier(self) -> None:
        self.all_gather(None)

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.all_gather(value)[0]

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's value in rank order, on every rank."""
        if self.world_size == 1:
            return [value]
        import torch

        values: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values
