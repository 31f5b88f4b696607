"""A ``CausalLM`` with its initial weights, whole or born partitioned under ZeRO-3."""

from typing import Any

import torch

from megalite.config.model import ModelConfig
from megalite.model.causal_lm import CausalLM
from megalite.model.init import initialise
from megalite.parallel.mesh import Mesh


def build_model(
    config: ModelConfig,
    mesh: Mesh,
    seed: int,
    dtype: torch.dtype = torch.float32,
    checkpoint_activations: bool = False,
    zero3_config: dict[str, Any] | None = None,
) -> CausalLM:
    """Allocate and fill the model.

    Args:
        zero3_config: the merged DeepSpeed config of a ZeRO-3 run. Every layer is then partitioned over the data-parallel
            group as soon as it is allocated, so that no rank ever holds the whole model. Collective.
    """
    if zero3_config is None:
        model = CausalLM(config, mesh, checkpoint_activations).to(dtype)
        initialise(model, config, mesh, seed)
        return model
    from deepspeed import zero

    # The dtype comes from the config's bf16 section: zero.Init(dtype=torch.float32) gives bf16 on CPU (DeepSpeed 0.19.8).
    with zero.Init(
        config_dict_or_path=zero3_config,
        data_parallel_group=mesh.data_group,
        mpu=mesh if mesh.tensor_size > 1 else None,
    ):
        model = CausalLM(config, mesh, checkpoint_activations)
    # Rank 0 of the data-parallel group writes a gathered parameter; leaving the context hands the pieces out again.
    writer = 0 if mesh.data_group is None else torch.distributed.get_global_rank(mesh.data_group, 0)
    initialise(model, config, mesh, seed, lambda parameter: zero.GatheredParameters([parameter], modifier_rank=writer))
    return model
