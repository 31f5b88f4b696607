"""Real training jobs: the commands that a user types, the processes of which they are made, and what they leave behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console

from megalite.data.adopt import adopt
from megalite.parity.launch import free_port
from megalite.tokenizer.load import load_tokenizer
from megalite.training.supervision.heartbeat import Position, read_position
from runs import run_config, write_data

REPOSITORY = Path(__file__).parents[1]
LIMIT = 240
"""Seconds for what must come, on a machine that does other things too."""
LAUNCHERS: dict[str, Callable[[int], list[str]]] = {
    "python": lambda _: [sys.executable],
    "torchrun": lambda ranks: ["torchrun", "--nproc-per-node", str(ranks), "--master-port", str(free_port())],
    "deepspeed": lambda ranks: ["deepspeed", "--num_gpus", str(ranks), "--master_port", str(free_port())],
}


def write_job(folder: Path, **sections: dict[str, Any]) -> Path:
    """Token files with a manifest, a tokenizer, and ``run.yaml``; returns its path. ``sections`` replace single keys."""
    write_data(folder)
    adopt(str(folder / "train"), load_tokenizer(folder / "tokenizer"), None, Console(quiet=True))
    return write_yaml(folder, **sections)


def write_yaml(folder: Path, **sections: dict[str, Any]) -> Path:
    config = run_config(folder, **sections).model_dump(mode="json", exclude_defaults=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder / "run.yaml"


class Job:
    """A command with its launcher, in a session of its own."""

    def __init__(
        self,
        folder: Path,
        launcher: str,
        ranks: int,
        *words: str,
        script: Path = REPOSITORY / "pretrain.py",
        name: str = "test",
        around: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``pretrain.py``, or another ``script`` with its command line, under a launcher.

        Args:
            folder: of ``run.yaml``; the run is ``folder/name``.
            words: overrides and options.
            around: command that runs the launcher.
        """
        self.run, self.ranks = folder / name, ranks
        zero = str(REPOSITORY / "ds_configs/zero1.json")
        given = ["--config", str(folder / "run.yaml"), "--ds_config", zero, f"run.name={name}", *words]
        places = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        self._said = folder / f"{name}-{time.monotonic_ns()}.out"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [*around, *LAUNCHERS[launcher](ranks), str(script), *given],
                cwd=folder,
                env=os.environ | places | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"} | dict(environment or {}),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.processes = [psutil.Process(self.process.pid)]

    def positions(self) -> list[Position]:
        """Of the ranks that have said something."""
        found = (read_position(self.run / f".ranks/rank-{rank:05d}.json") for rank in range(self.ranks))
        return [position for position in found if position is not None]

    def wait_for_step(self, step: int) -> None:
        """Until all ranks are at work on it; remembers all processes that there are then."""
        self.wait_for(lambda: [position.step >= step for position in self.positions()] == [True] * self.ranks)

    def wait_for(self, event: Callable[[], bool]) -> None:
        """Until something is so; remembers all processes that there are then."""
        deadline = time.monotonic() + LIMIT
        while not event():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.02)
        root = psutil.Process(self.process.pid)
        self.processes = [root, *root.children(recursive=True)]

    def victim(self, name: str) -> psutil.Process:
        """``root`` (the command), ``launch`` (deepspeed's second process) or ``rank N``."""
        if name == "root":
            return self.processes[0]
        if name == "launch":
            return next(one for one in self.processes if "deepspeed.launcher.launch" in " ".join(one.cmdline()))
        return psutil.Process(next(at.pid for at in self.positions() if at.rank == int(name.removeprefix("rank "))))

    def said(self) -> str:
        """All output so far."""
        return self._said.read_text()

    def sentences(self) -> list[str]:
        """Megalite's own, of what has ended the job."""
        return [line for line in self.said().splitlines() if line.startswith(("megalite: error:", "megalite: stopped"))]

    def end(self) -> int:
        """Wait for the end of every process; the exit code of the command."""
        try:
            code = self.process.wait(LIMIT)
            alive = psutil.wait_procs(self.processes, timeout=LIMIT)[1]
            assert not alive, f"left: {[one.cmdline() for one in alive if one.is_running()]}\n{self.said()}"
            return code
        finally:
            self.kill()

    def kill(self) -> None:
        """Whatever is left."""
        for process in self.processes:
            if process.is_running():
                process.kill()
        self.process.wait()
