"""Build a ``CausalLM`` with its initial weights, whole or partitioned from the start under ZeRO-3."""

from contextlib import AbstractContextManager
from typing import Any

import torch

from megalite.config.model import ModelConfig
from megalite.model.causal_lm import CausalLM
from megalite.model.init import initialise
from megalite.model.layer_execution import EAGER, LayerExecution
from megalite.parallel.mesh import Mesh


def build_model(
    config: ModelConfig,
    mesh: Mesh,
    seed: int,
    dtype: torch.dtype = torch.float32,
    execution: LayerExecution = EAGER,
    zero3_config: dict[str, Any] | None = None,
) -> CausalLM:
    """Allocate the model and draw its initial weights.

    Args:
        zero3_config: the merged DeepSpeed config of a ZeRO-3 run. Every layer is then partitioned over the data-parallel
            group as soon as it is allocated, and no rank ever holds the whole model. Collective.
    """
    if zero3_config is None:
        model = CausalLM(config, mesh, execution).to(dtype)
        initialise(model, config, seed)
        return model
    from deepspeed import zero

    # The dtype comes from the config's bf16 section; zero.Init(dtype=torch.float32) gives bf16 on CPU (DeepSpeed 0.19.8).
    with zero.Init(
        config_dict_or_path=zero3_config,
        data_parallel_group=mesh.data_parallel_group,
        mpu=mesh,
    ):
        model = CausalLM(config, mesh, execution)

    def opened(parameter: torch.nn.Parameter) -> AbstractContextManager[object]:
        # modifier_rank is a rank of the data-parallel group; on exit its values are partitioned over the group again.
        return zero.GatheredParameters([parameter], modifier_rank=0)

    initialise(model, config, seed, opened, writes=mesh.get_data_parallel_rank() == 0)
    return model
