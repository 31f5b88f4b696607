"""Heartbeats: small files in which every rank of a job writes its position, and which the other ranks read."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalite.config.launch import read_launch
from megalite.training.supervision.machine import process_space

RECORD_BYTES = 512
SLOW_PHASES = ("start", "loading", "checkpoint")
"""Phases in which a rank may wait for a disk, or build a large model, without a heartbeat."""
PATIENCE = 10
"""The time-out is longer by this factor in slow phases."""


@dataclass(frozen=True)
class Position:
    """What a rank last wrote."""

    rank: int
    host: str
    space: str
    """Where ``pid`` is valid, see ``megalite.training.supervision.machine``."""
    pid: int
    step: int
    """The current optimizer step, from 1; 0 before the first."""
    phase: str
    micro_batch: int
    moves: int
    """Grows with every change of phase; a rank whose number stands still makes no heartbeat."""

    @property
    def patience(self) -> int:
        """Factor of the time-out in this phase."""
        return PATIENCE if self.phase in SLOW_PHASES else 1

    def __str__(self) -> str:
        """``rank 3 (host, pid 4711) in forward of step 12, micro-batch 3``."""
        return (
            f"rank {self.rank} ({self.host}, pid {self.pid}) in {self.phase} of step {self.step}, "
            f"micro-batch {self.micro_batch}"
        )


class Heartbeat:
    """This rank's position. Once published, every change is written to a file that survives the process."""

    def __init__(self) -> None:
        self.step, self.phase, self.micro_batch, self.moves = 0, "start", 0, 0
        self._rank = read_launch().rank
        self._file: int | None = None

    def publish(self, folder: Path) -> None:
        """Keep ``folder/rank-NNNNN.json`` up to date from now on."""
        self._path = folder / f"rank-{self._rank:05d}.json"
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o644)
        self._write()

    @property
    def is_read(self) -> bool:
        """Whether the others still read this rank's file; False if another job has replaced the folder."""
        try:
            return self._file is None or os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    def at(self, phase: str, micro_batch: int = 0) -> None:
        self.phase, self.micro_batch = phase, micro_batch
        self.tick()

    def tick(self) -> None:
        """Report progress within the phase: a tensor, a part of a file."""
        self.moves += 1
        self._write()

    def position(self) -> Position:
        place = (self.step, self.phase, self.micro_batch, self.moves)
        return Position(self._rank, socket.gethostname(), process_space(), os.getpid(), *place)

    def _write(self) -> None:
        if self._file is not None:
            os.pwrite(self._file, json.dumps(vars(self.position())).encode().ljust(RECORD_BYTES), 0)


def read_position(path: Path) -> Position | None:
    """Returns None if the rank has not written yet."""
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return Position(**values) if values.keys() == Position.__dataclass_fields__.keys() else None
