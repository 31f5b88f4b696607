"""Ways to damage a Hugging Face folder, for tests that every command notices."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
LAYER = "model.layers.0.mlp.up_proj.weight"
Damage = Callable[[Path], None]


def copied(folder: Path, target: Path, damage: Damage) -> Path:
    """A damaged copy of ``folder``."""
    shutil.copytree(folder, target)
    damage(target)
    return target


def change_json(name: str, **values: Any) -> Damage:
    """Keys of a JSON file replaced; an Ellipsis removes one."""

    def damage(folder: Path) -> None:
        path = folder / name
        whole = (json.loads(path.read_text()) if path.is_file() else {}) | values
        path.write_text(json.dumps({key: value for key, value in whole.items() if value is not ...}))

    return damage


def write(name: str, content: bytes) -> Damage:
    """A file with other content."""
    return lambda folder: (folder / name).write_bytes(content) and None


def change_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """The weights after ``change`` was called on them."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def change_header(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """The header of the weights after ``change``, the numbers as they were."""

    def damage(folder: Path) -> None:
        raw = (folder / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + size])
        change(header)
        written = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(written)) + written + raw[8 + size :])

    return damage


def cut(name: str, share: float) -> Damage:
    """The beginning of a file."""

    def damage(folder: Path) -> None:
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: int(len(raw) * share)])

    return damage


def sharded(folder: Path) -> None:
    """The same weights in two files with an index."""
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    halves = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in range(2)}
    for file, own in halves.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    (folder / WEIGHTS).unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": {n: file for file, own in halves.items() for n in own}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def sharded_then(change: Callable[[Path, dict[str, Any]], Any]) -> Damage:
    """Two shards, and an index that ``change`` has had."""

    def damage(folder: Path) -> None:
        sharded(folder)
        index = json.loads((folder / f"{WEIGHTS}.index.json").read_text())
        change(folder, index)
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))

    return damage
