"""Ranks that are threads of this process: the collectives that parallel layers need, in milliseconds instead of seconds.

The real backend is used by tests/multirank; this is for tests that try many shapes.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from megalite.parallel import collectives, cross_entropy, mesh, slicing
from megalite.training.checkpoint import tensor_routes

SECONDS = 20
Group = tuple[int, ...]


class ThreadRanks:
    """Stands for ``torch.distributed`` in the modules that only talk; a group is the tuple of its ranks."""

    ReduceOp = torch.distributed.ReduceOp
    ProcessGroup = torch.distributed.ProcessGroup

    def __init__(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.size, self._own, self._changed = size, threading.local(), threading.Condition()
        self._boxes: dict[tuple[Group, int], dict[int, Any]] = {}
        self._failed = False
        for module in (collectives, cross_entropy, mesh, slicing, tensor_routes):
            monkeypatch.setattr(module, "dist", self)

    def run(self, function: Callable[[], Any]) -> list[Any]:
        """``function()`` on every rank; the results in rank order. Raises what the first rank that failed has raised."""
        results: list[Any] = [None] * self.size
        errors: list[BaseException] = []

        def one(rank: int) -> None:
            self._own.rank, self._own.counts = rank, {}
            try:
                results[rank] = function()
            except BaseException as error:
                errors.append(error)
                with self._changed:
                    self._failed = True
                    self._changed.notify_all()

        threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    def get_rank(self) -> int:
        return int(self._own.rank)

    def get_world_size(self, group: Group | None = None) -> int:
        return self.size if group is None else len(group)

    def new_group(self, ranks: Sequence[int], use_local_synchronization: bool) -> Group:
        assert use_local_synchronization
        assert self.get_rank() in ranks
        return tuple(ranks)

    def all_reduce(self, x: Tensor, op: Any = ReduceOp.SUM, *, group: Group) -> None:
        parts = torch.stack(self._meet(x, group))
        x.copy_(parts.amax(0) if op == self.ReduceOp.MAX else parts.sum(0))

    def all_gather(self, out: list[Tensor], x: Tensor, group: Group) -> None:
        for place, part in zip(out, self._meet(x, group), strict=True):
            place.copy_(part)

    def all_gather_into_tensor(self, out: Tensor, x: Tensor, group: Group) -> None:
        out.copy_(torch.cat(self._meet(x, group)))

    def reduce_scatter_tensor(self, out: Tensor, x: Tensor, group: Group) -> None:
        out.copy_(torch.stack(self._meet(x, group)).sum(0).chunk(len(group))[group.index(self.get_rank())])

    def all_to_all_single(self, out: Tensor, x: Tensor, group: Group) -> None:
        own = group.index(self.get_rank())
        out.copy_(torch.cat([part.chunk(len(group))[own] for part in self._meet(x, group)]))

    def all_gather_object(self, out: list[Any], value: Any, group: Group) -> None:
        out[:] = self._meet(value, group)

    def send(self, x: Tensor, destination: int) -> None:
        self._meet(x, (self.get_rank(), destination))

    def recv(self, out: Tensor, source: int) -> None:
        out.copy_(self._meet(None, (source, self.get_rank()))[0])

    def _meet(self, x: Any, group: Group) -> list[Any]:
        """What every rank of the group has brought to this call of it, in rank order."""
        rank = self.get_rank()
        number = self._own.counts[group] = self._own.counts.get(group, 0) + 1
        with self._changed:
            box = self._boxes.setdefault((group, number), {})
            box[rank] = x.detach().clone() if isinstance(x, Tensor) else x
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: len(box) == len(group) or self._failed, SECONDS) or self._failed:
                raise RuntimeError(f"rank {rank} waited in vain for {group}")
            return [box[other] for other in group]
