"""Finds the Hugging Face folder of a run, and those of its files that are copied."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from megalite.config.errors import DataError

CONFIG = "config.json"
WORD_LISTS = ("vocab.json", "vocab.txt", "merges.txt")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    *WORD_LISTS,
)
"""The files that transformers reads for the tokenizer of a text model."""
DESCRIPTIONS = (CONFIG, "generation_config.json", *TOKENIZER_FILES)
"""The files that transformers reads for a text model, except the weights."""
_STEP = re.compile(r"step-(\d+)")


def model_folder_of(path: str) -> str:
    """Returns the Hugging Face folder for ``path``.

    A folder with a ``config.json`` is returned as it is. For a checkpoint (``runs/NAME/step-000500``) or a fine-tuning run
    it is its ``hf`` folder, for a pretraining run the ``hf`` folder of the newest checkpoint. Anything else, such as a name
    on the hub or a path that does not exist, is returned unchanged.
    """
    folder = Path(path)
    if not folder.is_dir() or (folder / CONFIG).is_file():
        return path
    steps = [step for step in folder.iterdir() if _STEP.fullmatch(step.name)]
    newest = sorted(steps, key=lambda step: int(step.name.removeprefix("step-")), reverse=True)
    found = (place / "hf" for place in (folder, *newest) if (place / "hf" / CONFIG).is_file())
    return str(next(found, path))


def known_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """Returns those of the named files that exist in a model or tokenizer folder, for copying.

    Raises: DataError for a link that leaves the folder; links in the hub's cache, from a snapshot to its blobs, are allowed.
    """
    found = [folder / name for name in names if os.path.lexists(folder / name)]
    for path in found:
        target = Path(os.path.realpath(path))
        home = Path(os.path.realpath(folder))
        homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
        if path.is_symlink() and target.parent not in homes:
            raise DataError(f"{path}: is a link to {target}, outside of the folder; put the file itself there")
        if not path.is_file():
            raise DataError(f"{path}: is not a file")
    return found
