"""Floating-point operations of training; a multiply and an add are two."""

from megalite.config.model import ModelConfig
from megalite.model.layer_shapes import layer_flops, parameter_count

FORWARD_AND_BACKWARD = 3
"""In units of the forward pass: the backward pass computes two products for each one, of the inputs and of the weights."""
TOKENS_PER_PARAMETER = 20
"""Compute-optimal tokens per parameter (Hoffmann et al. 2022, arXiv:2203.15556, table 3 rounded)."""
SECONDS_PER_DAY = 86_400


def flops_6np(model: ModelConfig, tokens: int) -> float:
    """Returns the estimate ``6 N P``: N tokens, P parameters, two for the forward and four for the backward pass.

    Kaplan et al. 2020, arXiv:2001.08361, section 2.1.
    """
    return 6.0 * tokens * parameter_count(model)


def flops_per_token(model: ModelConfig, sequence_length: int) -> float:
    """Returns the operations of matrix products and causal attention for one token, forward and backward.

    Recomputed activations are not counted. Attention counts the causal half of the scores, ``(S + 1) / 2`` keys for each
    query on average; Chowdhery et al. 2022, arXiv:2204.02311, appendix B counts the whole square.
    """
    of_a_sample = sum(layer.products + layer.attention for layer in layer_flops(model, sequence_length))
    return FORWARD_AND_BACKWARD * of_a_sample / sequence_length


def compute_optimal_tokens(model: ModelConfig) -> int:
    """Returns the tokens that use a fixed compute budget best with this many parameters."""
    return TOKENS_PER_PARAMETER * parameter_count(model)


def days(flops: float, tflops_per_device: float, devices: int, utilisation: float) -> float:
    """Returns the wall-clock days at ``utilisation`` of ``tflops_per_device`` on each of ``devices``."""
    return flops / (tflops_per_device * 1e12 * devices * utilisation) / SECONDS_PER_DAY
