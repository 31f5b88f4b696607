"""Where the relative paths of a config lead: what a run reads is looked for in three places, what it writes goes to one.

What is read (data, tokenizer, recipe, model, rows) is looked for in the current folder, then beside the config file, then
in the folder of this repository, so that the examples work from anywhere. What is written goes under the current folder.
"""

from glob import glob
from pathlib import Path

from megalite.config.schema import RunConfig

REPOSITORY = Path(__file__).parents[2]
DATASET_SUFFIXES = (".manifest.json", ".idx", ".bin")


def find_input(path: str, config_file: Path, suffixes: tuple[str, ...] = ("",)) -> str:
    """The path, or where it is relative to one of the other places; as it was where it is nowhere.

    Args:
        path: may be a glob.
        suffixes: one of which is added to name a file.
    """
    if Path(path).is_absolute():
        return path
    for folder in (Path(), config_file.absolute().parent, REPOSITORY):
        if any(_is_there(folder / f"{path}{suffix}") for suffix in suffixes):
            return str(folder / path)
    return path


def _is_there(path: Path) -> bool:
    return path.exists() or bool(glob(str(path)))  # noqa: PTH207


def find_data(config: RunConfig, config_file: Path) -> RunConfig:
    """The run with the paths of what it reads as they were found."""
    data = config.data

    def dataset(prefix: str) -> str:
        return find_input(prefix, config_file, DATASET_SUFFIXES)

    prepare = data.prepare
    if prepare is not None:
        recipe, corpus = (find_input(path, config_file) for path in (prepare.recipe, prepare.corpus_dir))
        prepare = prepare.model_copy(update={"recipe": recipe, "corpus_dir": corpus})
    changes = {
        "train": tuple(source.model_copy(update={"prefix": dataset(source.prefix)}) for source in data.train),
        "phases": tuple(
            phase.model_copy(update={"weights": {dataset(prefix): weight for prefix, weight in phase.weights.items()}})
            for phase in data.phases
        ),
        "valid": None if data.valid is None else dataset(data.valid),
        "tokenizer": find_input(data.tokenizer, config_file),
        "prepare": prepare,
    }
    return config.model_copy(update={"data": data.model_copy(update=changes)})


def searched(path: str | Path) -> str:
    """`` (looked in ...)`` for the message that a relative path is missing; nothing for an absolute one."""
    if Path(path).is_absolute():
        return ""
    return f" (looked in {Path.cwd()}, beside the config file, and in {REPOSITORY})"
