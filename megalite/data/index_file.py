"""Megatron's index file, ``MMIDIDX`` version 1, with the same bytes as megatron-core 0.16.

Little endian: 9 bytes magic, uint64 version, uint8 dtype code, uint64 n sequences, uint64 m document boundaries; then
n int32 lengths, n int64 byte offsets, m int64 boundaries (sequence numbers, beginning with 0).
"""

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from megalite.config.errors import DataError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEADER = struct.Struct("<9sQBQQ")
CODES: dict[int, type[np.generic]] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    6: np.float64,
    7: np.float32,
    8: np.uint16,
}
LARGEST_UINT16_VOCABULARY = 65_500
"""Megatron's rule: uint16 for smaller vocabularies, int32 for others."""
CHUNK = 1 << 20
CHECKED_WHOLE = 1 << 20
CHECKED_PLACES = 64


def token_dtype(vocab_size: int) -> np.dtype:
    """Returns the dtype in which Megatron stores the ids of a vocabulary."""
    return np.dtype(np.uint16 if vocab_size < LARGEST_UINT16_VOCABULARY else np.int32)


@dataclass(frozen=True)
class Index:
    """The content of an index file; the arrays are memory-mapped."""

    dtype: np.dtype
    lengths: np.ndarray
    offsets: np.ndarray
    boundaries: np.ndarray


def write_index(file: IO[bytes], dtype: np.dtype, lengths: np.ndarray, sequences: np.ndarray | None = None) -> None:
    """Writes the index in chunks, so that memory does not grow with the number of documents.

    Args:
        lengths: int32, number of tokens of each sequence; may be a memory map.
        sequences: int32, number of sequences of each document; None is one each. May be a memory map.
    """
    if sequences is None:
        sequences = np.broadcast_to(np.int32(1), len(lengths))
    code = next(code for code, kind in CODES.items() if np.dtype(kind) == dtype)
    file.write(HEADER.pack(MAGIC, VERSION, code, len(lengths), len(sequences) + 1))
    for start in range(0, len(lengths), CHUNK):
        file.write(np.asarray(lengths[start : start + CHUNK], dtype="<i4").tobytes())
    for starts in _running_starts(lengths):
        file.write((starts * dtype.itemsize).astype("<i8").tobytes())
    for starts in _running_starts(sequences):
        file.write(starts.astype("<i8").tobytes())
    file.write(np.array([len(lengths)], dtype="<i8").tobytes())


def _running_starts(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the exclusive cumulative sum in chunks."""
    before = 0
    for start in range(0, len(sizes), CHUNK):
        part = np.asarray(sizes[start : start + CHUNK], dtype=np.int64)
        ends = before + np.cumsum(part)
        yield ends - part
        before = int(ends[-1])


def index_bytes(sequences: int, boundaries: int) -> int:
    """Returns the size of an index file; there is one more boundary than documents."""
    return HEADER.size + 12 * sequences + 8 * boundaries


def file_size(path: Path) -> int:
    """Returns the size of a ``.bin`` or ``.idx`` file. Raises: FileNotFoundError or DataError that explains a bad prefix."""
    prefix = path.with_suffix("")
    try:
        status = path.stat()
    except FileNotFoundError:
        if str(path).endswith(("/.idx", "/.bin")) or prefix.is_dir():
            folder = prefix if prefix.is_dir() else path.parent
            inside = sorted(folder.glob("*.idx"))
            example = f", such as {inside[0].with_suffix('')}" if inside else ""
            raise DataError(f"{folder}: is a folder; give the prefix of a .bin and .idx{example}") from None
        if prefix.suffix in (".bin", ".idx"):
            raise FileNotFoundError(f"{path}: missing; give the prefix {prefix.with_suffix('')} alone") from None
        raise FileNotFoundError(f"{path}: missing; make it with megalite preprocess-data") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            f"{path}: is not a regular file; give the prefix of a .bin and .idx from megalite preprocess-data"
        )
    return status.st_size


def read_index(path: Path, whole: bool = False) -> Index:
    """Memory-maps and checks an index file.

    Args:
        whole: check every entry, not only a sample of a large file.

    Raises: FileNotFoundError; DataError if the file is damaged; OSError.
    """
    size = file_size(path)
    if size < HEADER.size:
        raise DataError(f"{path}: is too short for an index, {size} bytes; preprocess the data again")
    with path.open("rb") as file:
        magic, version, code, sequences, boundaries = HEADER.unpack(file.read(HEADER.size))
    if magic != MAGIC:
        raise DataError(f"{path}: begins with {magic!r}, not with Megatron's {MAGIC!r}; it is not an index file")
    if version != VERSION:
        raise DataError(f"{path}: has index version {version}; only version {VERSION} is supported")
    if code not in CODES:
        raise DataError(f"{path}: dtype code {code} is unknown; the file is damaged, preprocess the data again")
    if not np.issubdtype(CODES[code], np.integer):
        raise DataError(
            f"{path}: contains {np.dtype(CODES[code]).name} values, not token ids; give a dataset of tokens"
        )
    expected = index_bytes(sequences, boundaries)
    if sequences and size == expected + sequences:
        raise DataError(
            f"{path}: is multimodal, with a mode for each sequence; only text datasets are supported, build it again "
            f"without multimodal=True"
        )
    if size != expected or boundaries == 0:
        raise DataError(
            f"{path}: has {size} bytes, {sequences} sequences and {boundaries} boundaries need {expected}; it is "
            f"truncated or damaged, preprocess the data again"
        )
    content = np.memmap(path, mode="r", dtype=np.uint8)
    first, second, third = HEADER.size, HEADER.size + 4 * sequences, HEADER.size + 12 * sequences
    index = Index(
        dtype=np.dtype(CODES[code]),
        lengths=content[first:second].view("<i4"),
        offsets=content[second:third].view("<i8"),
        boundaries=content[third : third + 8 * boundaries].view("<i8"),
    )
    with path.open("rb", buffering=0) as file:
        _check(path, file, index, whole)
    return index


def _check(path: Path, file: IO[bytes], index: Index, whole: bool) -> None:
    """Refuses lengths, offsets and boundaries that contradict each other.

    Checks up to a million entries, or 64 ranges over a longer file, so that a billion documents open instantly (the
    manifest's checksum covers every byte). Reads with ``pread``, because a memory map would read megabytes around each
    range from a cold disk.
    """
    sequences, boundaries_at = len(index.lengths), HEADER.size + 12 * len(index.lengths)
    for start, stop in _stretches(sequences, whole):
        lengths = _read(file, "<i4", HEADER.size, start, stop)
        offsets = _read(file, "<i8", HEADER.size + 4 * sequences, start, stop)
        expected = np.append(offsets[0] if start else 0, offsets[:-1] + lengths[:-1] * index.dtype.itemsize)
        wrong = np.flatnonzero((lengths < 0) | (offsets != expected))
        if len(wrong):
            first = int(wrong[0])
            raise DataError(
                f"{path}: sequence {start + first} has length {lengths[first]} and begins at byte {offsets[first]}, the "
                f"one before ends at {expected[first]}; the index is damaged, preprocess the data again"
            )
    for start, stop in _stretches(len(index.boundaries), whole):
        boundaries = _read(file, "<i8", boundaries_at, start, stop)
        wrong = np.flatnonzero(np.diff(boundaries, prepend=boundaries[0] if start else 0) < 0)
        if len(wrong) or (start == 0 and boundaries[0] != 0):
            number = start + int(wrong[0]) if len(wrong) else 0
            raise DataError(
                f"{path}: document boundary {number} is sequence {index.boundaries[number]}, out of order; the index is "
                f"damaged, preprocess the data again"
            )


def _read(file: IO[bytes], dtype: str, begin: int, start: int, stop: int) -> np.ndarray:
    """Reads entries ``start`` to ``stop`` of the array at byte ``begin``, as int64."""
    size = np.dtype(dtype).itemsize
    content = os.pread(file.fileno(), (stop - start) * size, begin + start * size)
    return np.frombuffer(content, dtype=dtype).astype(np.int64)


def _stretches(count: int, whole: bool) -> list[tuple[int, int]]:
    """Returns the ranges to check; consecutive ranges overlap by one, since each entry is compared with the one before."""
    if count <= CHECKED_WHOLE:
        return [(0, count)] if count else []
    if whole:
        return [(max(0, start - 1), min(start + CHECKED_WHOLE, count)) for start in range(0, count, CHECKED_WHOLE)]
    length = CHECKED_WHOLE // CHECKED_PLACES
    starts = [place * (count - length) // (CHECKED_PLACES - 1) for place in range(CHECKED_PLACES)]
    return [(start, start + length) for start in starts]
