"""Cast tensors and write them to safetensors files a few megabytes at a time.

A safetensors file has 8 bytes (the length of the header, little endian), the header (JSON with dtype, shape and byte range
of each tensor), and the bytes of the tensors in this order (https://huggingface.co/docs/safetensors, "Format"). The header
depends only on shapes, so it is written before any tensor is read; ``save_file`` of the library needs all tensors of a file
in memory.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Size, Tensor

from megalite.config.errors import DataError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
PIECE_BYTES = 8 * 1024**2
ALIGNMENT = 8

Rows = Callable[[str, int, int], Tensor]
"""``rows(name, start, stop)`` returns rows of the first dim of a tensor."""


def cast_pieces(name: str, shape: Size, rows: Rows, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield a tensor in ``dtype``, in pieces of about ``PIECE_BYTES``.

    Raises: DataError if a value is not finite or outside the range of ``dtype``.
    """
    row_bytes = shape[1:].numel() * torch.float32.itemsize
    step = max(1, PIECE_BYTES // row_bytes)
    for start in range(0, shape[0], step):
        piece = rows(name, start, min(start + step, shape[0]))
        cast = piece.to(dtype)
        if not _is_finite(cast):
            _refuse(name, piece, dtype)
        yield cast


def _is_finite(piece: Tensor) -> bool:
    low, high = piece.aminmax()  # NaN if any value is; ten times faster on CPU than isfinite().all()
    return math.isfinite(low) and math.isfinite(high)


def _refuse(name: str, piece: Tensor, dtype: torch.dtype) -> None:
    if not _is_finite(piece):
        raise DataError(f"tensor '{name}' has values that are not finite; export an earlier checkpoint")
    short = next(short for short, known in DTYPES.items() if known is dtype)
    raise DataError(
        f"tensor '{name}' has the value {float(piece.abs().max()):g}, but {torch.finfo(dtype).max:g} is the largest value "
        f"of {short}; export with --dtype {'fp32' if short == 'bf16' else 'bf16'}"
    )


def write_tensor_file(
    path: Path, shapes: Mapping[str, Size], dtype: torch.dtype, pieces: Callable[[str], Iterable[Tensor]]
) -> None:
    """Write one safetensors file of tensors in one dtype.

    Args:
        shapes: maps names to shapes, in the order of the file.
        pieces: returns the consecutive pieces of a tensor in ``dtype``.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    ends = {}
    for name, shape in shapes.items():
        start, end = end, end + shape.numel() * dtype.itemsize
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        ends[name] = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        first = file.tell()
        for name in shapes:
            for piece in pieces(name):
                file.write(piece.contiguous().flatten().view(torch.uint8).numpy().data)
            assert file.tell() - first == ends[name], f"{name}: pieces do not add up to its shape"
