"""Name and shape of every tensor in a Hugging Face folder, from the config alone."""

import torch

from megalite.config.model import ModelConfig
from megalite.model.causal_lm import CausalLM
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.mesh import Mesh


def hf_parameter_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """In the order of the layers; nothing is allocated."""
    with torch.device("meta"):
        model = CausalLM(config, Mesh.single())
    return {name: parameter.shape for name, parameter in named_hf_parameters(model)}
