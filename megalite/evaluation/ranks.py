"""The processes of one ``accelerate launch``: who I am, and a few objects from one to all."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ranks:
    """This process among the others; one process alone needs no launcher."""

    rank: int = 0
    world_size: int = 1

    @staticmethod
    def launched() -> "Ranks":
        """What the launcher says. Collectives may wait for ever: a rank that fails ends the job by the launcher."""
        import os
        from datetime import timedelta

        import torch

        if not torch.accelerator.is_available():
            os.environ["ACCELERATE_USE_CPU"] = "true"  # else accelerate takes torchrun's ranks on CPU for one process
        from accelerate import Accelerator, InitProcessGroupKwargs

        accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(weeks=52))])
        return Ranks(accelerator.process_index, accelerator.num_processes)

    @property
    def first(self) -> bool:
        """Whether this rank writes and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every rank is here."""
        self.gathered(None)

    def from_first(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.gathered(value)[0]

    def gathered(self, value: Any) -> list[Any]:
        """Every rank's value, in their order, on every rank."""
        if self.world_size == 1:
            return [value]
        import torch

        values: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values
