"""A config that asks for more than its weights hold is refused before anything is built from it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError

LAYERS = re.compile(r"^(num_)?(hidden_|encoder_|decoder_)?layers$|^n_layers?$")
"""Each layer has a tensor at least: ``num_hidden_layers``, ``n_layer``..."""
SIZES = re.compile(
    r"^(vocab|hidden|embedding|\w*intermediate)_size$|^(n_embd|n_inner|d_model|d_ff|d_kv|ffn_dim|head_dim)$"
    r"|(^|_)(n_)?heads?$|(^|_)experts$"
)
"""Each is a dim of some tensor, or a divisor of one."""
MOST_LABELS = 1_000_000
"""transformers writes a name for each of ``num_labels``."""
LARGEST = 2**53


def check_bounds(path: Path, config: dict[str, Any], tensors: int, elements: int) -> None:
    """Refuse numbers of a config that cannot belong to weights of ``tensors`` tensors with ``elements`` numbers in all.

    Raises: DataError.
    """
    for key, value in _numbers(config):
        if value > LARGEST or (key == "num_labels" and value > MOST_LABELS):
            raise DataError(f"{path}: {key}={str(value)[:20]} is out of bounds; get the file again")
        for kind, held, what in ((LAYERS, tensors, "tensors"), (SIZES, elements, "numbers")):
            if kind.search(key) and value > held:
                raise DataError(
                    f"{path}: {key}={value:,}, and the weights hold {held:,} {what}; they do not belong together"
                )


def _numbers(values: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number with the key that it stands under."""
    if isinstance(values, dict):
        for inner, value in values.items():
            yield from _numbers(value, inner)
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value)
    elif isinstance(values, int) and not isinstance(values, bool):
        yield key, values
