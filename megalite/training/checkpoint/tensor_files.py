"""Sharded safetensors files in the layout of transformers."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from megalite.config.errors import DataError

MAX_SHARD_BYTES = 2 * 1024**3


def plan_shards(sizes: Iterable[tuple[str, int]], max_bytes: int = MAX_SHARD_BYTES) -> list[list[str]]:
    """Split the names, in order, into shards of at most ``max_bytes``. A larger tensor gets its own shard."""
    shards: list[list[str]] = []
    filled = 0
    for name, size in sizes:
        if not shards or filled + size > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def shard_name(stem: str, index: int, count: int) -> str:
    """``model.safetensors``, or ``model-00001-of-00003.safetensors`` for one of several."""
    return f"{stem}.safetensors" if count == 1 else f"{stem}-{index + 1:05d}-of-{count:05d}.safetensors"


def write_shard(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one safetensors file. Raises: OSError."""
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from None


def write_index(folder: Path, stem: str, shards: list[list[str]], total_bytes: int) -> Path | None:
    """Write the ``*.safetensors.index.json`` by which transformers finds a tensor's shard; a single shard needs none."""
    if len(shards) == 1:
        return None
    weight_map = {name: shard_name(stem, i, len(shards)) for i, names in enumerate(shards) for name in names}
    index = {"metadata": {"total_size": total_bytes}, "weight_map": weight_map}
    path = folder / f"{stem}.safetensors.index.json"
    path.write_text(json.dumps(index, indent=2) + "\n")
    return path


class TensorFiles:
    """Reads tensors by name from the shards of one stem in a folder."""

    def __init__(self, folder: Path, stem: str) -> None:
        """Find the shards. Raises: DataError if one is missing."""
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            names = set(json.loads(index.read_text())["weight_map"].values())
            files = [_inside(folder, name, index) for name in sorted(names)]
        else:
            files = [folder / f"{stem}.safetensors"]
        self._files = {}
        for path in files:
            if not path.is_file():
                raise DataError(f"{path}: missing; the checkpoint is incomplete, use another one")
            with safe_open(path, framework="pt") as opened:
                self._files.update(dict.fromkeys(opened.keys(), path))

    def names(self) -> Iterator[str]:
        yield from self._files

    def read(self, name: str, shape: Sequence[int] | None = None) -> Tensor:
        """One tensor. Raises: DataError if no shard holds it, or if it does not have the ``shape``."""
        if name not in self._files:
            raise DataError(f"tensor '{name}' is in none of the checkpoint's files; the model section has changed")
        with safe_open(self._files[name], framework="pt") as opened:
            tensor = opened.get_tensor(name)
        if shape is not None and tensor.shape != torch.Size(shape):
            raise DataError(
                f"{self._files[name]}: tensor '{name}' has shape {tuple(tensor.shape)}, and the model's has {tuple(shape)}; "
                f"the model section has changed"
            )
        return tensor


def _inside(folder: Path, name: str, index: Path) -> Path:
    """``folder/name``, after checking that the index does not point out of the folder."""
    if Path(name).name != name:
        raise DataError(f"{index}: shard '{name}' is outside the folder; do not trust this index")
    return folder / name
