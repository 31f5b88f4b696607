"""The share of a model's parameters that embedding and output head take at a vocabulary size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.load import read_yaml
from megalite.config.model import ModelConfig

USUAL_SIZES = (512, 2048, 4096)
HEAD, FEWEST_LAYERS, WIDTH_PER_LAYER = 64, 8, 128
"""A model given by its hidden size H is assumed to have H / 128 layers, as Llamas do, but at least 8."""


def model_shapes(hidden_sizes: Sequence[int] | None, config: Path | None) -> list[tuple[str, ModelConfig]]:
    """The model of a YAML file, and Llamas of these hidden sizes. Raises: ConfigError, FileNotFoundError."""
    shapes = []
    if config is not None:
        values = read_yaml(config)
        section = values.get("model", values)
        if not isinstance(section, dict):
            raise ConfigError(f"{config}: 'model' is not a section; give a run's YAML or its model section")
        shapes.append((config.name, validate(ModelConfig, section, str(config))))
    for size in hidden_sizes or (USUAL_SIZES if config is None else ()):
        if size < HEAD or size % HEAD:
            raise ConfigError(f"--hidden_size {size}: give a multiple of {HEAD}, or the model with --config")
        layers = max(FEWEST_LAYERS, size // WIDTH_PER_LAYER)
        shape = ModelConfig(
            vocab_size=1,
            hidden_size=size,
            intermediate_size=size * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=size // HEAD,
        )
        shapes.append((f"H {size}, {layers} layers", shape))
    return shapes


def embedding_shares(shapes: Sequence[tuple[str, ModelConfig]], vocab_size: int) -> list[dict[str, Any]]:
    """Parameters of embedding and output head (counted once if tied), and their share of all parameters."""
    from megalite.model.layer_shapes import hf_parameter_shapes  # imports PyTorch

    rows = []
    for name, shape in shapes:
        tables = hf_parameter_shapes(shape.model_copy(update={"vocab_size": vocab_size}))
        total = sum(table.numel() for table in tables.values())
        own = sum(table.numel() for name, table in tables.items() if name.startswith(("model.embed_tokens", "lm_head")))
        rows.append({"model": name, "parameters": own, "total": total, "share": own / total})
    return rows
