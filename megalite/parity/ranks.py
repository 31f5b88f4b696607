"""Run a function on N gloo ranks of this machine: warm start, hard time-out, no leftovers.

The ranks are forked from a server process that has imported torch and deepspeed once, so a launch costs a fraction of a
second. Functions must stand at the top level of a module, arguments and results must pickle.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from megalite.training.shared_memory import remove_stale_buffers

PRELOADED = [
    "torch._inductor.compile_fx",
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "megalite.training.session",
    "megalite.parity.warm",
]
"""The first two are what DeepSpeed's engine imports late: five seconds that every rank would spend anew."""


class RankError(AssertionError):
    """A rank raised, died, or did not answer in time."""


class RankTimeoutError(RankError):
    """Some ranks did not answer in time."""


def run_on_ranks(function: Callable[..., Any], world_size: int, *args: Any, timeout_seconds: float = 120) -> list[Any]:
    """``function(*args)`` on every rank of a fresh process group; the results in rank order.

    Raises: RankError with the rank and its traceback; RankTimeoutError naming the ranks that were stuck.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    port = free_port()
    pipes, processes = [], []
    for rank in range(world_size):
        receiver, sender = context.Pipe(duplex=False)
        arguments = (function, args, rank, world_size, port, timeout_seconds, sender)
        process = context.Process(target=_run_rank, args=arguments, daemon=True)
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
    """A TCP port on loopback that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _collect(pipes: list[Any], timeout_seconds: float) -> list[Any]:
    results: dict[int, Any] = {}
    deadline = time.monotonic() + timeout_seconds
    while len(results) < len(pipes):
        waiting = {pipe: rank for rank, pipe in enumerate(pipes) if rank not in results}
        ready = multiprocessing.connection.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RankTimeoutError(f"no answer within {timeout_seconds} s from ranks {sorted(waiting.values())}")
        for pipe in ready:
            rank = waiting[pipe]
            try:
                error, results[rank] = pickle.loads(pipe.recv_bytes())
            except EOFError:
                raise RankError(f"rank {rank} died without a word") from None
            if error is not None:
                raise RankError(f"rank {rank} raised:\n{error}")
    return [results[rank] for rank in range(len(pipes))]


def _run_rank(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    rank: int,
    world_size: int,
    port: int,
    timeout_seconds: float,
    answer: Any,
) -> None:
    import torch

    from megalite.training.distributed import end_ranks, start_ranks
    from megalite.training.supervision.launcher import end_with_parent

    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    end_with_parent()
    try:
        # Plain pickle, not the pipe's own: that would share a tensor's memory with a rank that is about to exit.
        start_ranks(timeout=timedelta(seconds=timeout_seconds))
        answer.send_bytes(pickle.dumps((None, function(*args))))
        torch.distributed.barrier()
        end_ranks()
    except BaseException:
        answer.send_bytes(pickle.dumps((traceback.format_exc(), None)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
