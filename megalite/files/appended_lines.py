"""A file that grows by whole lines and survives a kill: an incomplete last line is ignored, and cut off before the next."""

import os
from collections.abc import Iterable
from pathlib import Path


def complete_lines(path: Path) -> list[bytes]:
    """The lines that end with a newline; none if there is no file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines


def append_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Append lines, which end with a newline, and flush them to the disk."""
    size = _complete_size(path)
    with path.open("ab") as file:
        file.truncate(size)
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _complete_size(path: Path) -> int:
    """Bytes up to the end of the last complete line."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while size:
            step = min(size, 1 << 16)
            file.seek(size - step)
            if (end := file.read(step).rfind(b"\n")) >= 0:
                return size - step + end + 1
            size -= step
    return 0
