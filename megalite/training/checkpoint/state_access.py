"""One parameter's master weight and optimizer state, whole, in fp32, under any ZeRO stage.

ZeRO stages 1 to 3 go through DeepSpeed's public ``safe_get_full_*`` / ``safe_set_full_*``, which are collective over
the data-parallel group and give this tensor-parallel rank's slice. At stage 0 the parameter itself and torch's optimizer
hold them.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from deepspeed import zero
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from torch import Tensor, nn

from megalite.training.optimizers.definition import StateTensor

MASTER_WEIGHT = StateTensor("master")
"""The fp32 weight that the optimizer updates."""


def read_tensor(engine: Any, parameter: nn.Parameter, tensor: StateTensor) -> Tensor:
    """This tensor-parallel rank's slice. Collective. For optimizer state, the optimizer must have taken a step."""
    if tensor is MASTER_WEIGHT:
        weight = safe_get_full_fp32_param(parameter)
        return parameter.detach().float() if weight is None else weight
    state = _plain_state(engine)
    return safe_get_full_optimizer_state(parameter, tensor.name) if state is None else state[parameter][tensor.name]


def write_tensor(engine: Any, parameter: nn.Parameter, tensor: StateTensor, value: Tensor) -> None:
    """Set this rank's slice. Collective. For optimizer state, the optimizer must have taken a step."""
    if tensor is MASTER_WEIGHT:
        _write_weight(parameter, value)
    elif (state := _plain_state(engine)) is not None:
        state[parameter][tensor.name].copy_(value)
    else:
        safe_set_full_optimizer_state(parameter, value, tensor.name)


def _write_weight(parameter: nn.Parameter, weight: Tensor) -> None:
    """The master weight, and the live weight that the next forward pass reads."""
    if safe_get_full_fp32_param(parameter) is not None:
        safe_set_full_fp32_param(parameter, weight)
    # DeepSpeed's setter leaves the live copy alone; without these lines the first step is silently wrong.
    partitioned = (
        zero.GatheredParameters([parameter], modifier_rank=0) if hasattr(parameter, "ds_id") else nullcontext()
    )
    with partitioned, torch.no_grad():
        parameter.copy_(weight)


def set_step_counters(engine: Any, steps: int) -> None:
    """Set the counter of steps in every piece of optimizer state on this rank."""
    state = _plain_state(engine)
    for values in (engine.optimizer.optimizer.state if state is None else state).values():
        values["step"].fill_(steps)


def _plain_state(engine: Any) -> Mapping[Tensor, dict[str, Tensor]] | None:
    """The state of torch's optimizer if DeepSpeed has not wrapped it (ZeRO stage 0), else None."""
    return engine.optimizer.state if isinstance(engine.optimizer, torch.optim.Optimizer) else None
