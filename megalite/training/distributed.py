"""Start and end the process group of a run, and import DeepSpeed without its log noise."""

import datetime
import logging
import os
import warnings
from types import ModuleType

import torch

from megalite.config.errors import ConfigError
from megalite.config.launch import read_launch
from megalite.training.shared_memory import remove_stale_buffers

TIMEOUT = datetime.timedelta(minutes=30)


def start_ranks(timeout: datetime.timedelta = TIMEOUT) -> torch.device:
    """Join the process group that the launcher's environment describes (one process without a launcher).

    Returns: this rank's device. Raises: ConfigError if the job's port is in use.
    """
    remove_stale_buffers()
    launch = read_launch()
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        os.environ.setdefault(name, value)
    if launch.world_size == 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "0")
    deepspeed = quiet_deepspeed()
    if deepspeed.accelerator.get_accelerator().device_name() == "cuda":  # DS_ACCELERATOR=cpu turns it off
        device = torch.device("cuda", launch.local_rank)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
        if "OMP_NUM_THREADS" not in os.environ:  # ranks that share the cores must not each use all of them
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // launch.local_size))
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        deepspeed.init_distributed(dist_backend=backend, timeout=timeout, verbose=False)
    except torch.distributed.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        port = os.environ["MASTER_PORT"]
        raise ConfigError(
            f"port {port}: in use by another job; give the launcher another port with --master_port"
        ) from None
    return device


def end_ranks() -> None:
    """Leave the process group (otherwise torch aborts at exit) and free stale shared memory."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    remove_stale_buffers()


def quiet_deepspeed() -> ModuleType:
    """The ``deepspeed`` module, set to log warnings and errors only, without its compiled shared-memory op.

    Only DeepSpeed's inference all-reduce uses that op. Without it nothing is compiled at first use, and no buffers are left
    in /dev/shm. DeepSpeed itself reads this table of ops.
    """
    logger = logging.getLogger("DeepSpeed")
    logger.disabled = True  # on a CPU the import warns that there is no GPU
    import deepspeed

    logger.disabled = False
    logger.setLevel(logging.WARNING)
    # DeepSpeed 0.19 calls collectives by names that torch 2.13 is about to rename; users cannot fix that.
    warnings.filterwarnings("ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
