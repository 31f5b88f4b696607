"""``config.json`` of a Hugging Face folder <-> ``ModelConfig``, without importing transformers."""

from typing import Any

from pydantic import ValidationError

from megalite.config.errors import ConfigError
from megalite.config.model import ModelConfig

DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16"}
UNWRITTEN = {"rms_norm_eps": 1e-6}
"""Defaults of LlamaConfig that differ from ours."""
NEUTRAL = {"pretraining_tp": 1, "attention_dropout": 0.0, "hidden_act": "silu", "quantization_config": None}
"""Keys of LlamaConfig that this decoder supports with one value only."""


def hf_config_from_model(
    config: ModelConfig,
    dtype: str,
    bos_token_id: int | None = None,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
) -> dict[str, Any]:
    """The ``LlamaConfig`` that transformers, vLLM and llama.cpp read.

    transformers 5 reads ``rope_parameters``; older readers use ``rope_theta`` and ``rope_scaling``.
    """
    rope = config.rope_parameters.model_dump(exclude_none=True)
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": DTYPE_NAMES[dtype],
        "bos_token_id": bos_token_id,
        "eos_token_id": eos_token_id,
        "pad_token_id": pad_token_id,
        **config.model_dump(exclude={"rope_parameters", "head_dim", "num_key_value_heads"}),
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "rope_parameters": rope,
        "rope_theta": config.rope_parameters.rope_theta,
        "rope_scaling": None if config.rope_parameters.rope_type == "default" else scaling,
        "attention_dropout": 0.0,
        "use_cache": True,
    }


def model_config_from_hf(values: dict[str, Any]) -> ModelConfig:
    """The config of the decoder that a ``config.json`` describes.

    Raises: ConfigError naming the key that this decoder does not support.
    """
    if values.get("model_type") != "llama":
        raise ConfigError(f"config.json: model_type={values.get('model_type')!r}; only 'llama' is read")
    for key, neutral in NEUTRAL.items():
        if values.get(key, neutral) != neutral:
            raise ConfigError(f"config.json: {key}={values[key]!r}; this decoder has {neutral!r} only")
    rope = values.get("rope_parameters")
    if rope is None:  # written before transformers 5
        rope = dict(values.get("rope_scaling") or {})
        if "type" in rope:
            rope.setdefault("rope_type", rope.pop("type"))
    rope = {"rope_theta": values.get("rope_theta", 10000.0), **rope}
    known = {key: values[key] for key in ModelConfig.model_fields if key in values and key != "rope_parameters"}
    try:
        return ModelConfig.model_validate({**UNWRITTEN, **known, "rope_parameters": rope})
    except ValidationError as failure:
        problem = failure.errors()[0]
        raise ConfigError(f"config.json: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
