"""A Hugging Face folder: which one is meant by the name of a run, and which of its files are copied."""

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
"""All that transformers reads for a tokenizer of a text model."""
DESCRIPTIONS = (CONFIG, "generation_config.json", *TOKENIZER_FILES)
"""All that transformers reads of a text model but its weights."""
_STEP = re.compile(r"step-(\d+)")


def model_folder_of(path: str) -> str:
    """The Hugging Face folder that ``path`` means.

    A folder with a ``config.json`` is taken as it is. For a checkpoint (``runs/NAME/step-000500``) or the run of a
    fine-tuning it is the ``hf`` in it, for a pretraining run the ``hf`` of its newest checkpoint. Anything else, such as
    a name of the hub or a path that is not there, is returned unchanged.
    """
    folder = Path(path)
    if not folder.is_dir() or (folder / CONFIG).is_file():
        return path
    steps = [step for step in folder.iterdir() if _STEP.fullmatch(step.name)]
    newest = sorted(steps, key=lambda step: int(step.name.removeprefix("step-")), reverse=True)
    found = (place / "hf" for place in (folder, *newest) if (place / "hf" / CONFIG).is_file())
    return str(next(found, path))


def known_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of these names in a model or tokenizer folder, for copying.

    Raises: DataError for a link out of the folder; those of the hub's cache, from a snapshot to its blobs, are followed.
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
