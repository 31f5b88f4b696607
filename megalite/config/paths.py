"""Resolves the relative paths of a config.

Inputs (data, tokenizer, recipe, model, rows) are searched for in the current folder, then in the folder of the config file,
then in this repository, so that the examples work from anywhere. Outputs start at the current folder.
"""

from glob import glob
from pathlib import Path

from megalite.config.schema import RunConfig

REPOSITORY = Path(__file__).parents[2]
DATASET_SUFFIXES = (".manifest.json", ".idx", ".bin")


def find_input(path: str, config_file: Path, suffixes: tuple[str, ...] = ("",)) -> str:
    """Returns the first of the three places where ``path`` exists, or ``path`` itself if it exists nowhere.

    Args:
        path: may be a glob.
        suffixes: the path exists if it does with one of them appended.
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
    """Returns the run with the resolved paths of its inputs."""
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
    """Returns `` (searched in ...)`` for the error that a relative path is missing; empty for an absolute path."""
    if Path(path).is_absolute():
        return ""
    return f" (searched in {Path.cwd()}, in the folder of the config file, and in {REPOSITORY})"
