"""Results as a JSON file: checked before the work, written as a whole after it."""

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
        raise ConfigError(f"{path}: its folder does not exist; create it, or choose another --output")


def write_json(path: Path, value: Any) -> None:
    """Write the file. It appears under its name only when it is complete."""
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
