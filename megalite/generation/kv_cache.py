"""Key/value caches for generation."""

from importlib.util import find_spec
from typing import Any

from megalite.config.errors import ConfigError

CACHES = {
    "dynamic": "grows with the text",
    "static": "full length from the start",
    "quantized": "4 bits, needs the package hqq",
    "offloaded": "in host memory, one layer at a time on the CUDA device",
    "none": "no cache, every token recomputes the whole text",
}
RESIDUAL_TOKENS = 128
"""Newest tokens, which a quantized cache does not quantize."""


def check_cache(cache: str, with_proposals: bool, device: str) -> None:
    """Refuse a cache that this machine or speculative decoding does not support. Raises: ConfigError."""
    if cache not in CACHES:
        raise ConfigError(f"--cache {cache}: unknown; choose one of {', '.join(CACHES)}")
    if with_proposals and cache != "dynamic":
        raise ConfigError(f"--cache {cache}: only 'dynamic' can remove rejected tokens of --draft or --prompt_lookup")
    if cache == "quantized" and find_spec("hqq") is None:
        raise ConfigError("--cache quantized: needs the package hqq; pip install hqq, or choose another cache")
    if cache == "offloaded" and not device.startswith("cuda"):
        raise ConfigError(f"--cache offloaded: needs a CUDA device, and the model is on {device}; choose another cache")


def cache_keywords(cache: str, model_config: Any) -> dict[str, Any]:
    """Arguments of ``generate``. Nothing is compiled."""
    if cache == "none":
        return {"use_cache": False}
    if cache == "static":
        return {"use_cache": True, "cache_implementation": "static", "disable_compile": True}
    if cache == "quantized":
        head_dim = getattr(model_config, "head_dim", model_config.hidden_size // model_config.num_attention_heads)
        options = {"backend": "hqq", "nbits": 4, "axis_key": 1, "axis_value": 1, "residual_length": RESIDUAL_TOKENS}
        options["q_group_size"] = head_dim // 2  # hqq packs groups in pairs and fails on an odd number
        return {"use_cache": True, "cache_implementation": "quantized", "cache_config": options}
    return {"use_cache": True, "cache_implementation": None if cache == "dynamic" else cache}
