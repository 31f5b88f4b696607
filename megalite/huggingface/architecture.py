"""Compares the tensors that a config describes with those in the files, before reading any data."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from megalite.config.errors import DataError
from megalite.huggingface.tensor_headers import TensorHeader

FLOATS = ("F64", "F32", "F16", "BF16")
MOST_BUFFER_BYTES = 2**31
"""Limit for a model's buffers, such as masks and position tables."""
COMPUTED = (r"rotary_emb\.inv_freq", r"(^|\.)position_ids$")
"""Buffers in old folders that are computed from the config."""


def check_architecture(folder: Path, config: Any, headers: Mapping[str, TensorHeader]) -> None:
    """Refuse weights that do not fit ``config``: missing, unexpected, of another shape, or not floating point.

    The model is built on the meta device, so nothing is allocated. For quantized folders and for architectures whose
    weights transformers converts, only the sizes are checked here; ``load`` checks the rest.

    Raises: DataError with the tensor's name.
    """
    import torch
    import transformers

    model_class: Any = transformers.AutoModelForCausalLM._model_mapping[type(config)]
    with torch.device("meta"):  # not by ``from_config``, which partitions the model under ZeRO-3
        model = model_class(config)
    if sum(buffer.nbytes for buffer in model.buffers()) > MOST_BUFFER_BYTES:
        raise DataError(
            f"{folder / 'config.json'}: describes buffers of more than {MOST_BUFFER_BYTES:,} bytes; download it again"
        )
    if getattr(config, "quantization_config", None) is not None:
        return
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {_own_name(name, expected, model.base_model_prefix): header for name, header in headers.items()}
    tied = dict(model.all_tied_weights_keys)
    missing = [name for name in expected if name not in found and not _is_tied(name, tied, found)]
    missing = _without(missing, model._keys_to_ignore_on_load_missing)
    unexpected = [name for name in found if name not in expected]
    unexpected = _without(unexpected, [*(model._keys_to_ignore_on_load_unexpected or ()), *COMPUTED])
    if (missing or unexpected) and _is_converted(model):
        held, needed = (sum(sizes) for sizes in ([h.elements for h in headers.values()], _elements(model)))
        if needed > held:
            raise DataError(
                f"{folder}: config.json describes {needed:,} numbers, the weights hold {held:,}; download it again"
            )
        return
    refuse_differences(str(folder), config.model_type, missing, unexpected, [])
    for name, shape in expected.items():
        if name not in found:
            continue
        if found[name].shape != shape:
            refuse_differences(str(folder), config.model_type, [], [], [(name, found[name].shape, shape)])
        if found[name].dtype not in FLOATS:
            raise DataError(
                f"{folder}: tensor '{name}' is {found[name].dtype}; weights must be one of {', '.join(FLOATS)}"
            )
    for name, source in tied.items():
        if name in found and source in found and not _equal(found[name], name, found[source], source, headers):
            raise DataError(
                f"{folder}: '{name}' and '{source}' differ, but config.json ties them (tie_word_embeddings=true); "
                f"set it to false, or remove '{name}' from the weights"
            )


def refuse_differences(
    model: str, kind: str, missing: list[str], unexpected: list[str], mismatched: list[tuple[str, Any, Any]]
) -> None:
    """Report the first tensor that differs from the config, and how many more do. Raises: DataError."""
    end = "config and weights do not match; download the folder again"
    if missing:
        raise DataError(f"{model}: a '{kind}' model needs {_named(missing)}, which the weights lack; {end}")
    if unexpected:
        raise DataError(
            f"{model}: the weights hold {_named(unexpected)}, which this '{kind}' model does not have; {end}"
        )
    if mismatched:
        name, held, needed = mismatched[0]
        raise DataError(f"{model}: tensor '{name}' is {tuple(held)}, this '{kind}' model has {tuple(needed)}; {end}")


def _named(names: list[str]) -> str:
    return f"tensor '{names[0]}'" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")


def _own_name(name: str, expected: Mapping[str, Any], prefix: str) -> str:
    """A tensor's name in the model; files of a bare decoder lack the prefix."""
    if name not in expected and f"{prefix}.{name}" in expected:
        return f"{prefix}.{name}"
    return name


def _is_tied(name: str, tied: Mapping[str, str], found: Mapping[str, Any]) -> bool:
    """Whether a missing tensor is tied to one that is present."""
    source = tied.get(name, name)
    return any(other in found for other in (source, *(target for target in tied if tied[target] == source)))


def _without(names: list[str], patterns: Any) -> list[str]:
    return [name for name in names if not any(re.search(pattern, name) for pattern in patterns or ())]


def _is_converted(model: Any) -> bool:
    """Whether transformers renames or merges tensors of this architecture while loading."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    keys = {
        key
        for part in model.modules()
        if hasattr(part, "config")
        for key in (type(part).__name__, part.config.model_type)
    }
    return any(get_checkpoint_conversion_mapping(key) for key in keys)


def _elements(model: Any) -> list[int]:
    return [parameter.numel() for parameter in model.parameters()]


def _equal(
    one: TensorHeader, one_name: str, other: TensorHeader, other_name: str, headers: Mapping[str, TensorHeader]
) -> bool:
    import torch

    def read(header: TensorHeader, own: str) -> Any:
        name = own if own in headers else next(key for key, value in headers.items() if value is header)
        with safe_open(header.file, framework="pt") as opened:
            return opened.get_tensor(name)

    return torch.equal(read(one, one_name), read(other, other_name))
