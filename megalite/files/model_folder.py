"""Which Hugging Face folder a user means who names a run or one of its checkpoints."""

import re
from pathlib import Path

CONFIG = "config.json"
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
