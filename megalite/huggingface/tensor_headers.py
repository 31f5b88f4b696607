"""Reads name, shape and dtype of every tensor in a folder's safetensors files, without the data."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from megalite.config.errors import ConfigError, DataError, in_one_line
from megalite.config.text_files import kind_of, read_json_object

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class TensorHeader:
    shape: tuple[int, ...]
    dtype: str
    """As safetensors names it: ``F32``, ``BF16``, ``I8``..."""
    file: Path

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def tensor_headers(folder: Path) -> dict[str, TensorHeader]:
    """The tensors of ``model.safetensors``, or of the shards in its index.

    safetensors itself refuses oversized headers, overlapping offsets and truncated files.

    Raises: DataError with the file's name if one is missing, damaged or outside the folder; OSError.
    """
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file() and index.is_file():
        raise DataError(f"{folder}: contains both {SINGLE} and {INDEX}, which may disagree; remove one of them")
    if index.is_file():
        listed = _weight_map(index)
        paths = [folder / name for name in sorted(set(listed.values()))]
    else:
        listed, paths = {}, [single]
    headers: dict[str, TensorHeader] = {}
    for path in paths:
        for name, header in _of_file(path).items():
            if name in headers:
                raise DataError(f"{path}: tensor '{name}' is in {headers[name].file.name} too; the folder is damaged")
            if listed and listed.get(name) != path.name:
                raise DataError(f"{index}: tensor '{name}' is in {path.name} but not listed; download the folder again")
            headers[name] = header
    for name, file in listed.items():
        if name not in headers:
            raise DataError(f"{folder / file}: has no tensor '{name}', which {INDEX} lists; download the folder again")
    return headers


def _of_file(path: Path) -> dict[str, TensorHeader]:
    if not path.is_file():
        raise DataError(f"{path}: missing; the model is incomplete, download the folder again")
    try:
        with safe_open(path, framework="np") as opened:
            parts = {name: opened.get_slice(name) for name in sorted(opened.keys())}
            return {name: TensorHeader(tuple(p.get_shape()), p.get_dtype(), path) for name, p in parts.items()}
    except (SafetensorError, OverflowError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({in_one_line(error)}); download the file again") from None


def _weight_map(index: Path) -> dict[str, str]:
    try:
        values: Any = read_json_object(index).get("weight_map")
    except ConfigError as error:
        raise DataError(str(error)) from None
    if not isinstance(values, dict) or not values:
        raise DataError(
            f"{index}: 'weight_map' is {kind_of(values)}, not an object with tensors; download the folder again"
        )
    for name, file in values.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise DataError(f"{index}: shard {file!r} of '{name}' is outside the folder; do not trust this folder")
    return values
