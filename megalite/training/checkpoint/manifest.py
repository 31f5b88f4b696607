"""``manifest.json`` of a checkpoint: whether it lists all that the checkpoint needs, and nothing is there beside it."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_json_object

MANIFEST = "manifest.json"
FORMAT = "megalite-checkpoint-1"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps for every weight, by PyTorch's names."""
DESCRIPTIONS = ("state.json", "run.yaml", "ds_config.json", "hf/config.json", "hf/tokenizer.json")


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """File -> size and checksum, as the manifest lists them.

    Raises: DataError where the manifest is damaged or of another format, where it does not list a file that every
        checkpoint has, or where a tensor file lies in the folder that it does not list.
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


def _needed(folder: Path, files: Collection[str]) -> Iterator[str]:
    yield from DESCRIPTIONS
    stems = ["hf/model", *(f"optimizer/{moment}" for moment in MOMENTS)]
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
