"""A rank that dies, is stopped, hangs or fails ends the job in time, with one sentence, and leaves nothing behind."""

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from rich.console import Console

from megalite.config.ds_config import merge_ds_config
from megalite.config.grid import grid_shape
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.training_data import TrainingData
from megalite.parity.launch import PRELOADED, free_port
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.engine import Engine
from megalite.training.prepared_run import PreparedRun
from megalite.training.session import run_session
from megalite.training.supervision.heartbeat import read_position
from megalite.training.supervision.signals import listening
from runs import run_config, write_data

WORLD, TIMEOUT = 2, 20
LIMIT = 120
"""Seconds in which a job must be over, on a machine that does other things too."""


def rank_process(folder: Path, rank: int, port: int, fault: str) -> None:
    """One rank of a run, as a launcher would start it; ``fault`` happens on rank 1 in its third step."""
    for stream in (1, 2):
        os.dup2(os.open(folder / f"{rank}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD), LOCAL_WORLD_SIZE=str(WORLD))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    plain = Engine._loss_sum

    def faulty(self: Any, batch: Any) -> Any:
        if rank == 1 and self.heartbeat.step == 3 and self.heartbeat.micro_batch == 1:
            if fault == "hang":
                time.sleep(1000)
            if fault == "error":
                raise ZeroDivisionError("planted")
        return plain(self, batch)

    Engine._loss_sum = faulty  # type: ignore[method-assign]
    config = run_config(
        folder, training={"steps": 100_000, "timeout_seconds": TIMEOUT}, checkpoint={"every_steps": 10**6}
    )
    data = TrainingData(GPTDataset(config.data.train[0].prefix, config.data.sequence_length, config.run.seed), None, {})
    ds_config = merge_ds_config(
        config, {"zero_optimization": {"stage": 1}}, grid_shape(WORLD, config.parallel), "yaml", "json"
    )
    start = TrainingState(0, 0, config.run.seed, config.data.sequence_length, {})
    with listening() as requests:
        run = PreparedRun(config, ds_config, folder / "run", data, start)
        run_session(run, 1.0, Console(quiet=True), requests)


def start_job(folder: Path, fault: str) -> list[Any]:
    write_data(folder)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    port = free_port()
    ranks = [
        context.Process(target=rank_process, args=(folder, rank, port, fault), daemon=True) for rank in range(WORLD)
    ]
    for process in ranks:
        process.start()
    return ranks


def wait_for_step(folder: Path, step: int) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        positions = [read_position(folder / f"run/.ranks/rank-{rank:05d}.json") for rank in range(WORLD)]
        if all(position is not None and position.step >= step for position in positions):
            return
        time.sleep(0.05)
    raise AssertionError(f"no rank has reached step {step}")


def output_of(folder: Path, ranks: list[Any]) -> str:
    """Wait for the end of all ranks; what they said. No process may be left."""
    try:
        for process in ranks:
            process.join(LIMIT)
        assert not any(process.is_alive() for process in ranks), "a rank is still there"
    finally:
        for process in ranks:
            if process.is_alive():
                process.kill()
                process.join()
    assert not any(psutil.pid_exists(process.pid) for process in ranks)
    assert not list(Path("/dev/shm").glob("deepspeed_allreduce_buffer_*"))
    return "".join((folder / f"{rank}.out").read_text() for rank in range(WORLD))


def sentences(output: str) -> list[str]:
    return re.findall(r"^megalite: error: (.*)$", output, flags=re.MULTILINE)


@pytest.mark.parametrize(("sent", "words"), [(signal.SIGKILL, "has died"), (signal.SIGSTOP, "is stopped")])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_gone_is_named_at_once(tmp_path: Path, sent: int, words: str, victim: int) -> None:
    ranks = start_job(tmp_path, "none")
    wait_for_step(tmp_path, 3)
    os.kill(ranks[victim].pid, sent)
    said = sentences(output_of(tmp_path, ranks))
    assert len(said) == 1
    expected = rf"rank {victim} \(.*, pid {ranks[victim].pid}\) in [a-z ]+ of step \d+, micro-batch \d+ {words}"
    assert re.match(expected, said[0]), said


def test_a_rank_that_hangs_is_named_after_the_time_out(tmp_path: Path) -> None:
    ranks = start_job(tmp_path, "hang")
    said = sentences(output_of(tmp_path, ranks))
    assert len(said) == 1
    assert re.match(
        rf"rank 1 \(.*\) in forward of step 3, micro-batch 1 hangs: nothing has moved for {TIMEOUT} s; it is at "
        r".*test_training_watch\.py:\d+",
        said[0],
    ), said


def test_a_rank_that_fails_is_named_and_shows_its_traceback(tmp_path: Path) -> None:
    ranks = start_job(tmp_path, "error")
    output = output_of(tmp_path, ranks)
    said = sentences(output)
    assert len(said) == 1, output
    assert re.match(r"rank 1 \(.*\) in forward of step 3, micro-batch 1 failed: ZeroDivisionError: planted", said[0])
    assert output.count("Traceback") == 1, output
