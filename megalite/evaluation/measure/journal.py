"""The answers of an unfinished task, written as they come, so that a killed evaluation resumes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.files.appended_lines import append_lines, complete_lines


class Journal:
    """Answers by the hash of their question, stored as one JSON array ``[key, answer]`` per line, one file per rank."""

    def __init__(self, path: Path | None = None, rank: int = 0) -> None:
        """Reads the files of all ranks at ``path`` (given without a suffix). Without a path nothing is stored."""
        self.path = path
        self._own = path.with_name(f"{path.name}.answers-{rank}.jsonl") if path else None
        self.answers: dict[str, Any] = {}
        for file in self._files():
            for number, line in enumerate(complete_lines(file), start=1):
                pair = parse_line(line, f"{file}:{number}")
                if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                    raise DataError(f"{file}:{number}: damaged: not an answer; remove the file to ask again")
                self.answers[pair[0]] = pair[1]

    def add(self, answers: Iterable[tuple[str, Any]]) -> None:
        """Store answers; they survive a power failure."""
        new = dict(answers)
        self.answers |= new
        if self._own is not None:
            append_lines(self._own, (json.dumps([key, answer]).encode() + b"\n" for key, answer in new.items()))

    def remove(self) -> None:
        """Delete the files of all ranks. Call this after the result is written."""
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        if self.path is None:
            return []
        start, end = f"{self.path.name}.answers-", ".jsonl"
        names = (path.name for path in self.path.parent.iterdir()) if self.path.parent.is_dir() else ()
        return [self.path.with_name(name) for name in sorted(names) if name.startswith(start) and name.endswith(end)]


def parse_line(line: bytes, where: str) -> Any:
    """The value of a JSON line of an evaluation folder. Raises: DataError."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: damaged: {error}; remove the file, or choose another --output") from None
