"""One parameter's master weight and moments, whole, in fp32, whatever the ZeRO stage.

ZeRO stages 1 to 3 go through DeepSpeed's public ``safe_get_full_*`` / ``safe_set_full_*``, which are collective over
the data-parallel group and give this tensor-parallel rank's slice. At stage 0 the parameter itself and torch's AdamW
hold them.
"""

from collections.abc import Iterator
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


def is_partitioned(parameter: nn.Parameter) -> bool:
    """Whether ZeRO-3 holds this parameter in pieces."""
    return hasattr(parameter, "ds_id")


def get_master_weight(parameter: nn.Parameter) -> Tensor:
    """The fp32 weight that the optimizer updates. Collective."""
    weight = safe_get_full_fp32_param(parameter)
    return parameter.detach().float() if weight is None else weight


def set_master_weight(parameter: nn.Parameter, weight: Tensor) -> None:
    """Write the master weight, and the live weight that the next forward pass reads. Collective."""
    if safe_get_full_fp32_param(parameter) is not None:
        safe_set_full_fp32_param(parameter, weight)
    # DeepSpeed's setter leaves the live copy alone; without this line the first step is silently off.
    if is_partitioned(parameter):
        with zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
            parameter.copy_(weight)
    else:
        with torch.no_grad():
            parameter.copy_(weight)


def get_moment(engine: Any, parameter: nn.Parameter, moment: str) -> Tensor:
    """``exp_avg`` or ``exp_avg_sq`` of one parameter. Collective. The optimizer must have taken a step."""
    state = _torch_state(engine)
    if state is not None:
        return state[parameter][moment]
    return safe_get_full_optimizer_state(parameter, moment)


def set_moment(engine: Any, parameter: nn.Parameter, moment: str, value: Tensor) -> None:
    """Write one moment. Collective. The optimizer must have taken a step, so that its state exists."""
    state = _torch_state(engine)
    if state is not None:
        state[parameter][moment].copy_(value)
    else:
        safe_set_full_optimizer_state(parameter, value, moment)


def set_adam_steps(engine: Any, steps: int) -> None:
    """Set the counter behind Adam's bias correction in every piece of optimizer state of this rank."""
    for state in _adam_states(engine):
        state["step"].fill_(steps)


def _torch_state(engine: Any) -> dict[nn.Parameter, dict[str, Tensor]] | None:
    """State of torch's optimizer where DeepSpeed left it unwrapped (stage 0), else None."""
    return engine.optimizer.state if isinstance(engine.optimizer, torch.optim.Optimizer) else None


def _adam_states(engine: Any) -> Iterator[dict[str, Tensor]]:
    inner = engine.optimizer if _torch_state(engine) is not None else engine.optimizer.optimizer
    yield from inner.state.values()
