"""Floating-point operations of training; a multiply and an add are two."""

from megalite.config.model import ModelConfig
from megalite.config.parameters import matmul_parameters, total_parameters

TOKENS_PER_PARAMETER = 20
"""Compute-optimal tokens for each parameter (Hoffmann et al. 2022, arXiv:2203.15556, table 3 rounded)."""
SECONDS_PER_DAY = 86_400


def flops_6np(model: ModelConfig, tokens: int) -> float:
    """The estimate ``6 N P``: N tokens, P parameters, two for the forward and four for the backward pass.

    Kaplan et al. 2020, arXiv:2001.08361, section 2.1.
    """
    return 6.0 * tokens * total_parameters(model)


def flops_per_token(model: ModelConfig, sequence_length: int) -> float:
    """Operations that training needs for one token, forward and backward, recomputation not counted.

    Every weight that multiplies the token costs 6. Causal attention at position i multiplies N*D numbers with i keys
    and i values: on average ``(S + 1) / 2`` each, 2 operations forward and 4 backward for both products. (Chowdhery et
    al. 2022, arXiv:2204.02311, appendix B counts the whole square, S instead of (S + 1) / 2.)
    """
    heads_width = model.num_attention_heads * model.head_size
    attention = model.num_hidden_layers * 2 * heads_width * (sequence_length + 1) / 2
    return 6.0 * (matmul_parameters(model) + attention)


def flops_exact(model: ModelConfig, tokens: int, sequence_length: int) -> float:
    """``flops_per_token`` over the whole run."""
    return tokens * flops_per_token(model, sequence_length)


def compute_optimal_tokens(model: ModelConfig) -> int:
    """Tokens that make the best use of a fixed compute budget with this many parameters: about 20 each."""
    return TOKENS_PER_PARAMETER * total_parameters(model)


def days(flops: float, tflops_per_device: float, devices: int, utilisation: float) -> float:
    """Wall-clock days at ``utilisation`` of ``tflops_per_device`` on each of ``devices``."""
    return flops / (tflops_per_device * 1e12 * devices * utilisation) / SECONDS_PER_DAY
