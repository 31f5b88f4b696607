"""Results as a JSON file: refused before the work where it cannot be written, and whole or not there after it."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError
from megalite.files.place import check_output_file
from megalite.files.whole_file import whole_file


def check_json_output(path: Path | None, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a file that exists, is an input or cannot be written, or whose folder does not exist.

    Raises: ConfigError; DataError; OSError.
    """
    if path is None:
        return
    check_output_file(path, inputs)
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist; make it, or choose another --output")


def write_json(path: Path, value: Any) -> None:
    """Write the file; it has its name only when it is whole."""
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def content_hash(value: Any) -> str:
    """sha256 over a value as JSON, the same for the same content."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
