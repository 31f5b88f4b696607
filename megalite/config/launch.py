"""Which rank this process is: the environment that ``deepspeed``, ``torchrun`` and ``accelerate launch`` set."""

import os
from typing import NamedTuple

from megalite.config.errors import ConfigError


class Launch(NamedTuple):
    """The place of this process among all ranks of the job."""

    rank: int
    world_size: int
    local_rank: int
    """Rank among the processes of this machine."""
    local_size: int

    @property
    def is_first(self) -> bool:
        """Whether this process prints and writes for all ranks."""
        return self.rank == 0


def read_launch() -> Launch:
    """Reads ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and ``LOCAL_WORLD_SIZE``; without a launcher, one process.

    Raises: ConfigError if one of them is not a number, or they contradict each other.
    """
    rank, world_size, local_rank = _number("RANK", 0), _number("WORLD_SIZE", 1), _number("LOCAL_RANK", 0)
    # torchrun sets LOCAL_WORLD_SIZE, DeepSpeed's launcher LOCAL_SIZE
    local_size = _number("LOCAL_WORLD_SIZE", 1) if "LOCAL_WORLD_SIZE" in os.environ else _number("LOCAL_SIZE", 1)
    for name, value, size_name, size in (
        ("RANK", rank, "WORLD_SIZE", world_size),
        ("LOCAL_RANK", local_rank, "WORLD_SIZE", world_size),
    ):
        if value >= size:
            raise ConfigError(
                f"environment: {name}={value} with {size_name}={size}: ranks are 0 to {size - 1}{_REMEDY}"
            )
    return Launch(rank, world_size, local_rank, local_size)


_REMEDY = "; start with deepspeed or torchrun, which set them, or unset RANK, LOCAL_RANK and WORLD_SIZE"
_LEAST = {"WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "LOCAL_SIZE": 1}
_MOST = 2**20


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default)).strip()
    least = _LEAST.get(name, 0)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= _MOST):
        raise ConfigError(f"environment: {name}={text[:40]!r} is not a whole number from {least} to {_MOST:,}{_REMEDY}")
    return int(text)
