"""The paths of a config lead to the same files from any folder; what is written goes under the current one."""

import shutil
from pathlib import Path

import pytest

from megalite.config import paths
from megalite.config.load import load_run_config
from megalite.config.paths import find_input
from megalite.posttraining.schema import SftRun
from megalite.posttraining.settings import read_settings

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = REPOSITORY / "examples/tiny/pretrain.yaml"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """The current folder, that of the config file, and what stands for the repository."""
    folders = (tmp_path / "here", tmp_path / "beside", tmp_path / "repository")
    for folder in folders:
        folder.mkdir()
    monkeypatch.chdir(folders[0])
    monkeypatch.setattr(paths, "REPOSITORY", folders[2])
    shutil.copy(EXAMPLE, folders[1] / "my.yaml")
    return folders


def touch(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def test_paths_resolve_here_then_config_then_repository(places: tuple[Path, Path, Path]) -> None:
    here, beside, repository = places
    config = beside / "my.yaml"
    assert find_input("data/a", config) == "data/a", "nowhere: as it was"
    touch(repository, "data/a")
    assert find_input("data/a", config) == str(repository / "data/a")
    touch(beside, "data/a")
    assert find_input("data/a", config) == str(beside / "data/a")
    touch(here, "data/a")
    assert find_input("data/a", config) == "data/a"
    assert find_input(str(repository / "data/a"), config) == str(repository / "data/a")
    touch(repository, "rows/1.jsonl")
    assert find_input("rows/*.jsonl", config) == str(repository / "rows/*.jsonl")


def test_a_run_finds_what_it_reads_and_writes_here(places: tuple[Path, Path, Path]) -> None:
    _, beside, repository = places
    override = "data.phases=[{begin: 0.5, weights: {data/tiny/corpus/train: 1}}]"
    config = load_run_config(beside / "my.yaml", [override])
    assert config.data.train[0].prefix == "data/tiny/corpus/train"
    for name in (
        "data/tiny/corpus/train.idx",
        "data/tiny/corpus/tokenizer/tokenizer.json",
        "examples/tiny/corpus.yaml",
    ):
        touch(repository, name)
    config = load_run_config(beside / "my.yaml", [override])
    data = config.data
    assert data.train[0].prefix == str(repository / "data/tiny/corpus/train")
    assert dict(data.phases[0].weights) == {data.train[0].prefix: 1.0}
    assert data.tokenizer == str(repository / "data/tiny/corpus/tokenizer")
    assert data.valid == "data/tiny/corpus/valid", "not there yet: will be made here"
    assert data.prepare is not None and data.prepare.recipe == str(repository / "examples/tiny/corpus.yaml")
    assert config.run.output_dir == "runs"


def test_a_tuning_run_finds_its_rows_and_leaves_names_of_the_hub(places: tuple[Path, Path, Path]) -> None:
    _, beside, repository = places
    shutil.copy(REPOSITORY / "examples/tiny/sft.yaml", beside / "sft.yaml")
    for name in ("data/tiny/chats/chats-train.jsonl", "runs/tiny/step-000500/hf/config.json"):
        touch(repository, name)
    words = ["--config", str(beside / "sft.yaml"), "data.valid=owner/name:split", "training.precision=fp32"]
    config = read_settings(SftRun, "", words).config
    assert config.data.train == (str(repository / "data/tiny/chats/chats-train.jsonl"),)
    assert config.data.valid == ("owner/name:split",)
    assert config.model.path == str(repository / "runs/tiny/step-000500/hf")
