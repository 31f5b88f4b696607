"""Resolve ``training.precision: auto``: bf16 if the device computes it in hardware, otherwise fp32.

A CPU without bf16 instructions emulates them, many times slower than fp32. The choice is made once, before anything is
built, and written to ``run.yaml``; a resumed run keeps the precision of its checkpoint on any machine.
"""

import os
import re
import time
from pathlib import Path
from typing import NamedTuple

import torch

from megalite.config.errors import ConfigError
from megalite.config.load import read_yaml
from megalite.config.precision import Precision

CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
"""CPU flags of x86 and ARM, as Linux names them."""
CPU_FACTS = Path("/proc/cpuinfo")
MOST_TIMES_SLOWER = 1.5
SIZE, REPEATS = 384, 3


class Choice(NamedTuple):
    """The precision of a run, and a message about it for the user, which may be empty."""

    precision: Precision
    message: str


def choose_precision(asked: Precision, checkpoint_yaml: Path | None = None) -> Choice:
    """Resolve ``training.precision``.

    Args:
        checkpoint_yaml: ``run.yaml`` of the checkpoint to resume. ``auto`` takes its precision.
    """
    device = device_type()
    name = "GPU" if device == "cuda" else device.upper()
    slow = f"bf16 is slow on this {name}, which has no bf16 instructions; training.precision=fp32 is faster here"
    if asked == "fp32":
        return Choice("fp32", "")
    in_hardware = has_bf16(device)
    if asked == "bf16":
        return Choice("bf16", "" if in_hardware else slow)
    before = None if checkpoint_yaml is None else _written_precision(checkpoint_yaml)
    if before is not None:
        but = f"; {slow}" if before == "bf16" and not in_hardware else ""
        return Choice(before, f"training.precision=auto: {before}, as in the checkpoint{but}")
    if in_hardware:
        return Choice("bf16", f"training.precision=auto: bf16, which this {name} computes in hardware")
    return Choice("fp32", f"training.precision=auto: fp32, as this {name} has no bf16 instructions")


def device_type() -> str:
    """``cuda`` or ``cpu``: the device of the ranks. ``DS_ACCELERATOR=cpu`` disables GPUs, as in DeepSpeed."""
    named = os.environ.get("DS_ACCELERATOR", "cuda")
    return "cuda" if named == "cuda" and torch.cuda.is_available() else "cpu"


def has_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; measured if the system does not say."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        facts = CPU_FACTS.read_text()
    except OSError:  # not Linux
        return _time_of_product(torch.bfloat16) <= MOST_TIMES_SLOWER * _time_of_product(torch.float32)
    return not CPU_FLAGS.isdisjoint(re.findall(r"\w+", facts))


def refuse_different_choices(precision: str, device: torch.device) -> None:
    """Ranks on different machines may have chosen differently. Collective. Raises: ConfigError on every rank."""
    low = torch.tensor([precision == "bf16"], dtype=torch.int32, device=device)
    high = low.clone()
    torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
    torch.distributed.all_reduce(high, torch.distributed.ReduceOp.MAX)
    if low.item() != high.item():
        raise ConfigError(
            "training.precision=auto: only some machines of this job have bf16 instructions; write "
            "training.precision=bf16 or training.precision=fp32"
        )


def _written_precision(path: Path) -> Precision | None:
    training = read_yaml(path).get("training") if path.is_file() else None
    found = training.get("precision") if isinstance(training, dict) else None
    return found if found in ("fp32", "bf16") else None


def _time_of_product(dtype: torch.dtype) -> float:
    """Seconds of the fastest of a few matrix products."""
    left, right = (torch.ones(SIZE, SIZE, dtype=dtype) for _ in range(2))
    left @ right
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return min(seconds)
