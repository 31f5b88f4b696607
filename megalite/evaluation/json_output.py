"""Results as a JSON file: refused before the work where it cannot be written, and whole or not there after it."""

import json
import os
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError


def check_json_output(path: Path | None) -> None:
    """Refuse a file that exists or whose folder does not. Raises: ConfigError."""
    if path is None:
        return
    if path.exists():
        raise ConfigError(f"{path}: exists; choose another --output, or remove it first")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist; make it, or choose another --output")


def write_json(path: Path, value: Any) -> None:
    """Write under a temporary name, flush, rename."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
