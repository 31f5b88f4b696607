"""What a model has answered so far, on disk as it comes: a killed evaluation goes on where it was."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError


class Journal:
    """Answers by the hash of their question; a JSON array ``[key, answer]`` a line, one file a rank."""

    def __init__(self, path: Path | None = None, rank: int = 0) -> None:
        """Reads what all ranks have left at ``path``, which has no suffix; without one, nothing is kept."""
        self.path = path
        self._own = path.with_name(f"{path.name}.answers-{rank}.jsonl") if path else None
        self.answers: dict[str, Any] = {}
        for file in self._files():
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.endswith(b"\n"):  # the last line of a killed run may be half
                        pair = parse_line(line, f"{file}:{number}")
                        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                            raise DataError(f"{file}:{number}: damaged: is no answer; remove the file to ask again")
                        self.answers[pair[0]] = pair[1]

    def add(self, answers: Iterable[tuple[str, Any]]) -> None:
        """Keep answers, also over a loss of power."""
        new = dict(answers)
        self.answers |= new
        if self._own is None:
            return
        whole = _whole_size(self._own)
        with self._own.open("ab") as file:
            file.truncate(whole)
            file.writelines(json.dumps([key, answer]).encode() + b"\n" for key, answer in new.items())
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete every rank's file: the result that they were kept for is written."""
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        if self.path is None:
            return []
        start, end = f"{self.path.name}.answers-", ".jsonl"
        names = (path.name for path in self.path.parent.iterdir()) if self.path.parent.is_dir() else ()
        return [self.path.with_name(name) for name in sorted(names) if name.startswith(start) and name.endswith(end)]


def parse_line(line: bytes, where: str) -> Any:
    """The value of a JSON line that we once wrote. Raises: DataError."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: damaged: {error}; remove the file, or choose another --output") from None


def _whole_size(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
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
