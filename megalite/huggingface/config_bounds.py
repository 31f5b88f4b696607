"""Refuses a config whose sizes exceed its weights, before anything is built from it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError

LAYERS = re.compile(r"^(num_)?(hidden_|encoder_|decoder_)?layers$|^n_layers?$")
"""Keys such as ``num_hidden_layers`` and ``n_layer``. Each layer has at least one tensor."""
SIZES = re.compile(
    r"^(vocab|hidden|embedding|\w*intermediate)_size$|^(n_embd|n_inner|d_model|d_ff|d_kv|ffn_dim|head_dim)$"
    r"|(^|_)(n_)?heads?$|(^|_)experts$"
)
"""Keys of sizes. Each is a dim of some tensor, or divides one."""
MOST_LABELS = 1_000_000
"""transformers creates a name for each of ``num_labels``."""
LARGEST = 2**53


def check_bounds(path: Path, config: dict[str, Any], tensors: int, elements: int) -> None:
    """Refuse a config with numbers too large for ``tensors`` tensors with ``elements`` elements in total.

    Raises: DataError.
    """
    for key, value in _numbers(config):
        if value > LARGEST or (key == "num_labels" and value > MOST_LABELS):
            raise DataError(f"{path}: {key}={str(value)[:20]} is out of bounds; download the file again")
        for kind, held, what in ((LAYERS, tensors, "tensors"), (SIZES, elements, "numbers")):
            if kind.search(key) and value > held:
                raise DataError(f"{path}: {key}={value:,}, but the weights hold {held:,} {what}; they do not match")


def _numbers(values: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """Every integer with its key."""
    if isinstance(values, dict):
        for inner, value in values.items():
            yield from _numbers(value, inner)
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value)
    elif isinstance(values, int) and not isinstance(values, bool):
        yield key, values
