"""Runs a function on N gloo ranks of this machine, with a warm start and a hard timeout; leaves no process behind.

The ranks are forked from a server process that has imported torch and deepspeed once, so a launch costs a fraction of a
second. Functions must be defined at the top level of a module; arguments and results must be picklable.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from megalite.training.shared_memory import remove_stale_buffers

PRELOADED = ["torch._inductor.compile_fx", "deepspeed", "megalite.training.session"]
"""The first is a late import of DeepSpeed's engine that takes five seconds, on every rank unless it is preloaded."""


class RankError(AssertionError):
    """A rank raised, died, or did not answer in time."""


class RankTimeoutError(RankError):
    """Some ranks did not answer in time."""


@dataclass(frozen=True)
class Task:
    """What every rank runs."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    world_size: int
    port: int
    timeout_seconds: float


def run_on_ranks(function: Callable[..., Any], world_size: int, *args: Any, timeout_seconds: float = 120) -> list[Any]:
    """Runs ``function(*args)`` on every rank of a new process group; returns the results in rank order.

    Raises: RankError with the rank and its traceback; RankTimeoutError naming the ranks that hang.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    task = Task(function, args, world_size, free_port(), timeout_seconds)
    pipes, processes = [], []
    for rank in range(world_size):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run_rank, args=(task, rank, sender), daemon=True)
        process.start()
        sender.close()
        pipes.append(receiver)
        processes.append(process)
    try:
        return _collect(pipes, timeout_seconds)
    finally:
        for process in processes:
            process.join(timeout=1)
            if process.is_alive():
                process.kill()
                process.join()
        remove_stale_buffers()


def free_port() -> int:
    """Returns a free TCP port on loopback."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _collect(pipes: Sequence[Connection], timeout_seconds: float) -> list[Any]:
    results: dict[int, Any] = {}
    deadline = time.monotonic() + timeout_seconds
    while len(results) < len(pipes):
        waiting = [rank for rank in range(len(pipes)) if rank not in results]
        seconds = max(0.0, deadline - time.monotonic())
        ready = multiprocessing.connection.wait([pipes[rank] for rank in waiting], timeout=seconds)
        if not ready:
            raise RankTimeoutError(f"no answer within {timeout_seconds} s from ranks {waiting}")
        for rank in waiting:
            if pipes[rank] not in ready:
                continue
            try:
                error, results[rank] = pickle.loads(pipes[rank].recv_bytes())
            except EOFError:
                raise RankError(f"rank {rank} died without an answer") from None
            if error is not None:
                raise RankError(f"rank {rank} raised:\n{error}")
    return [results[rank] for rank in range(len(pipes))]


def _run_rank(task: Task, rank: int, answer: Connection) -> None:
    import torch

    from megalite.training.distributed import end_ranks, start_ranks
    from megalite.training.supervision.launcher import end_with_parent

    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(task.world_size),
        LOCAL_WORLD_SIZE=str(task.world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(task.port),
    )
    torch.set_num_threads(1)
    end_with_parent()
    try:
        # Plain pickle: the pipe's own would share a tensor's memory with a rank that is about to exit.
        start_ranks(timeout=timedelta(seconds=task.timeout_seconds))
        answer.send_bytes(pickle.dumps((None, task.function(*task.arguments))))
        torch.distributed.barrier()
        end_ranks()
    except BaseException:
        answer.send_bytes(pickle.dumps((traceback.format_exc(), None)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
