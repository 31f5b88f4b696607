"""``manifest.json`` of a checkpoint: every file with its size and checksum."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_json_object, read_yaml_file
from megalite.training.optimizers.definition import optimizer_definition

MANIFEST = "manifest.json"
FORMAT = "megalite-checkpoint-1"
HASHED_AT_ONCE = 8 * 2**20
"""Bytes."""
DESCRIPTIONS = ("state.json", "run.yaml", "ds_config.json", "hf/config.json", "hf/tokenizer.json")


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """File -> size and checksum.

    Raises: DataError if the manifest is damaged or has another format, if it does not list a file that every checkpoint
        has, or if the folder contains a tensor file that it does not list.
    """
    path = folder / MANIFEST
    try:
        manifest = read_json_object(path, "manifest")
    except ConfigError as error:
        raise DataError(f"{error}; take another checkpoint") from None
    if (kind := manifest.get("format")) != FORMAT:
        raise DataError(
            f"{path}: format {kind!r} is unknown to this version, which reads '{FORMAT}'; take another checkpoint"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(facts, dict) for facts in files.values()):
        raise DataError(f"{path}: 'files' is {kind_of(files)}, not an object of files; take another checkpoint")
    for name in _needed(folder, files):
        if name not in files:
            raise DataError(f"{path}: does not list {name}, which a checkpoint needs; take another checkpoint")
    for tensors in sorted(folder.glob("*/*.safetensors*")):
        if (name := str(tensors.relative_to(folder))) not in files:
            raise DataError(f"{tensors}: is not listed in {MANIFEST}; remove it, or take another checkpoint")
    return files


def verify_files(folder: Path, tick: Callable[[], None] = lambda: None, rank: int = 0, ranks: int = 1) -> None:
    """Check every file against ``manifest.json``; with several ranks, this rank's share of them.

    Args:
        tick: called often while a file is read.

    Raises: DataError naming the first damaged file.
    """
    items = list(read_manifest(folder).items())[rank::ranks]

    def verify(item: tuple[str, dict[str, Any]]) -> None:
        name, expected = item
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise DataError(f"{folder / MANIFEST}: '{name}' is outside the checkpoint; do not trust this manifest")
        if not path.is_file():
            raise DataError(f"{path}: missing; the checkpoint is incomplete, resume from another one")
        if describe_file(path, tick) != expected:
            raise DataError(f"{path}: differs from its checksum in {MANIFEST}; resume from another checkpoint")

    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter lock
        list(pool.map(verify, items))


def describe_file(path: Path, tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Size and digest of a file, as in the manifest."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(HASHED_AT_ONCE):
            digest.update(part)
            size += len(part)
            tick()
    return {"bytes": size, "sha256": digest.hexdigest()}


def saved_optimizer(folder: Path) -> str:
    """The ``optimizer.name`` of the run that wrote the checkpoint. Raises: DataError."""
    try:
        return str(read_yaml_file(folder / "run.yaml")["optimizer"]["name"])
    except (ConfigError, FileNotFoundError, KeyError, TypeError):
        raise DataError(f"{folder / 'run.yaml'}: names no optimizer; take another checkpoint") from None


def _needed(folder: Path, files: Collection[str]) -> Iterator[str]:
    yield from DESCRIPTIONS
    stems = [
        "hf/model",
        *(f"optimizer/{tensor.name}" for tensor in optimizer_definition(saved_optimizer(folder)).state),
    ]
    if any(name.startswith("optimizer/master") for name in files):
        stems.append("optimizer/master")
    for stem in stems:
        index = f"{stem}.safetensors.index.json"
        if index not in files:
            yield f"{stem}.safetensors"
            continue
        try:
            shards = read_json_object(folder / index, "index").get("weight_map")
        except ConfigError as error:
            raise DataError(f"{error}; take another checkpoint") from None
        if not isinstance(shards, dict) or not shards:
            raise DataError(f"{folder / index}: lists no tensor; take another checkpoint")
        yield from sorted({str(Path(stem).parent / str(shard)) for shard in shards.values()})
