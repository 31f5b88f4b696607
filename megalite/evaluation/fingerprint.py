"""Hashes that identify a model, a task or a file."""

import hashlib
import json
from pathlib import Path
from typing import Any

from megalite.huggingface.load import loading

MODEL_SUFFIXES = {".safetensors", ".bin", ".json", ".model", ".jinja", ".txt", ".py"}
"""Files that change a model's behavior; a model card does not."""


def model_fingerprint(model: str) -> str:
    """SHA-256 over the files of a folder, or over the commit of a hub model. Raises: DataError if there is none."""
    folder = Path(model)
    if not folder.is_dir():
        import huggingface_hub

        with loading(model):
            return content_hash(Path(huggingface_hub.hf_hub_download(model, "config.json")).parent.name)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in MODEL_SUFFIXES)
    return content_hash([[path.name, sha256_of_file(path)] for path in files])


def content_hash(value: Any) -> str:
    """SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
