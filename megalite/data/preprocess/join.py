"""Joins finished shards into ``PREFIX.bin``, ``PREFIX.idx`` and, last of all, the manifest."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from megalite.config.errors import DataError
from megalite.data.index_file import token_dtype, write_index
from megalite.data.manifest import Manifest, Source, SourcePiece, file_facts, manifest_path
from megalite.data.preprocess.plan import PreprocessPlan
from megalite.data.preprocess.shard import Stretch, stretches
from megalite.data.preprocess.unit import UnitResult, shard_path


class Joined(NamedTuple):
    """The content of a whole dataset."""

    ids: Path
    lengths: Path
    """int32 tokens of each sequence."""
    sequences: Path
    """int32 sequences of each document."""


def join_shards(
    plan: PreprocessPlan, results: Sequence[UnitResult], folder: Path, prefix: Path, tokenizer_check: str | None = None
) -> list[Manifest]:
    """Concatenate the shards of each key in the plan's order and publish each dataset."""
    manifests = []
    dtype = token_dtype(plan.vocab_size)
    for key, target in enumerate(plan.prefixes(prefix)):
        parts = [
            stretches(shard_path(folder, number, key), result.shards[key], dtype.itemsize)
            for number, result in enumerate(results)
        ]
        joined = Joined(folder / "joined.bin", folder / "joined.lengths", folder / "joined.sequences")
        for column, whole in zip(zip(*parts, strict=True), joined, strict=True):
            concatenate(column, whole)
        facts = _facts(plan, results, key) | {"tokenizer_check": tokenizer_check}
        manifests.append(publish(target, joined, dtype, facts))
    return manifests


def _facts(plan: PreprocessPlan, results: Sequence[UnitResult], key: int) -> dict[str, Any]:
    """Everything in the manifest of a key except its files."""
    return {
        "documents": sum(result.documents for result in results),
        "sequences": sum(result.shards[key].sequences for result in results),
        "tokens": sum(result.shards[key].tokens for result in results),
        "text_bytes": sum(result.text_bytes[key] for result in results),
        "dtype": token_dtype(plan.vocab_size).name,
        "vocab_size": plan.vocab_size,
        "tokenizer_fingerprint": plan.tokenizer_fingerprint,
        "eod_id": plan.eod_id,
        "parse_special_tokens": plan.parse_special_tokens,
        "special_spellings": sum(result.special_spellings[key] for result in results),
        "text_key": plan.keys[key],
        "keys": plan.keys,
        "level": plan.level,
        "malformed": sum(result.malformed for result in results),
        "empty": sum(result.empty for result in results),
        "plan": plan.digest(),
        "sources": tuple(_sources(plan, results)),
        "pieces": tuple(_pieces(plan, results)),
    }


def publish(prefix: Path, joined: Joined, dtype: np.dtype, facts: dict[str, Any]) -> Manifest:
    """Write the index, then rename everything: ``.bin``, ``.idx``, and the manifest, which marks the dataset as complete."""
    index = joined.ids.with_suffix(".idx")
    with index.open("wb") as file:
        write_index(file, dtype, _mapped(joined.lengths), _mapped(joined.sequences))
        _sync(file.fileno())
    folder = str(prefix.parent.resolve())
    manifest = Manifest(**facts, bin=file_facts(joined.ids), idx=file_facts(index), folder=folder)
    partial = joined.ids.with_suffix(".manifest")
    with partial.open("w") as file:
        file.write(manifest.to_json())
        file.flush()
        _sync(file.fileno())
    for old in (manifest_path(prefix), Path(f"{prefix}.idx")):  # else a kill between the renames would leave the old
        old.unlink(missing_ok=True)  # manifest beside new tokens
    joined.ids.rename(f"{prefix}.bin")
    index.rename(f"{prefix}.idx")
    partial.rename(manifest_path(prefix))
    descriptor = os.open(prefix.parent, os.O_RDONLY)
    _sync(descriptor)
    os.close(descriptor)
    return manifest


def _mapped(path: Path) -> np.ndarray:
    return np.memmap(path, mode="r", dtype="<i4") if path.stat().st_size else np.zeros(0, dtype="<i4")


def concatenate(parts: Sequence[Stretch], target: Path) -> None:
    """Concatenate parts of files, by the kernel's own copy if possible, and flush the target to the disk."""
    with target.open("wb", buffering=0) as out:
        for path, start, size in parts:
            with path.open("rb", buffering=0) as source:
                source.seek(start)
                while size:
                    copied = _copy(source.fileno(), out.fileno(), size)
                    if not copied:
                        raise DataError(f"{path}: is shorter than it was; remove it and run again")
                    size -= copied
        _sync(out.fileno())


def _copy(source: int, out: int, most: int) -> int:
    """Copy up to ``most`` bytes between the current positions; returns the number of bytes copied."""
    try:
        return os.copy_file_range(source, out, most)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    return os.write(out, os.read(source, min(most, 1 << 20)))  # across file systems, or on one without copy_file_range


def _sources(plan: PreprocessPlan, results: Sequence[UnitResult]) -> list[Source]:
    sources = []
    for item in plan.inputs:
        own = [result for unit, result in zip(plan.units, results, strict=True) if str(unit.path) == item.path]
        sources.append(
            Source(
                path=os.path.abspath(item.path),  # noqa: PTH100 (links stay as they were named)
                bytes=item.bytes,
                documents=sum(result.documents for result in own),
                malformed=sum(result.malformed for result in own),
                empty=sum(result.empty for result in own),
            )
        )
    return sources


def _pieces(plan: PreprocessPlan, results: Sequence[UnitResult]) -> list[SourcePiece]:
    numbers = {item.path: number for number, item in enumerate(plan.inputs)}
    pieces: list[SourcePiece] = []
    lines = 0
    for unit, result in zip(plan.units, results, strict=True):
        if unit.start == 0:
            lines = 0
        before = unit.before or lines  # rows are known from the plan, lines when they have been read
        pieces.append(SourcePiece(numbers[str(unit.path)], unit.start, unit.end, unit.size, before, result.documents))
        lines += result.lines
    return pieces


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)
