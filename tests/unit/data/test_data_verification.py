"""A changed file is found at the start where it is small, and during the run where it is large."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data import verification
from megalite.data.manifest import FileFacts
from megalite.data.preprocess.command import preprocess
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.data.samples.loader import BatchLoader
from megalite.data.verification import Verification

QUIET = Console(quiet=True)


@pytest.fixture
def prefix(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> str:
    preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)
    return str(tmp_path / "out")


def change_one_token(prefix: str, place: int) -> None:
    """One token at ``place``, which no sample near the end of a run touches; size and modification time stay."""
    path = Path(f"{prefix}.bin")
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(2 * place)
        old = file.read(2)
        file.seek(2 * place)
        file.write(bytes([old[0] ^ 1, old[1]]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read whole, as they are."""
    names: list[str] = []

    def counted(path: Path) -> FileFacts:
        names.append(path.name)
        return original(path)

    original = verification.file_facts
    monkeypatch.setattr(verification, "file_facts", counted)
    return names


def test_unchanged_files_are_read_once(prefix: str, tmp_path: Path, read: list[str]) -> None:
    for _ in range(2):
        Verification([prefix, prefix], tmp_path / "record.json").finish()
    assert sorted(read) == ["out.bin", "out.idx"]
    (tmp_path / "record.json").write_text("[1, 2")  # a damaged record is none
    Verification([prefix], tmp_path / "record.json").finish()
    assert len(read) == 4
    Verification([prefix], tmp_path / "no" / "folder" / "record.json").finish()
    assert len(read) == 6
    assert not (tmp_path / "no").exists()


def test_a_change_that_keeps_size_and_time_is_found(prefix: str, tmp_path: Path) -> None:
    Verification([prefix], tmp_path / "record.json").finish()
    change_one_token(prefix, 17)
    with pytest.raises(DataError, match=r"out\.bin: differs from its checksum in .*out\.manifest\.json; restore the"):
        Verification([prefix], tmp_path / "record.json")


def test_large_files_are_read_in_the_background_and_end_the_run(prefix: str, tmp_path: Path) -> None:
    change_one_token(prefix, 17)
    found = Verification([prefix], tmp_path / "record.json", at_once=0)  # the start is not held up
    loader = BatchLoader(GPTDataset(prefix, 8, 1), 2, 4, 0, 1, verification=found)
    with pytest.raises(DataError, match="differs from its checksum"):
        found.finish()
    with pytest.raises(DataError, match="differs from its checksum"):
        loader.step_batches(0)


def test_a_file_that_cannot_be_read_is_told(prefix: str, tmp_path: Path) -> None:
    found = Verification([prefix], tmp_path / "record.json", at_once=0)
    found.finish()
    Path(f"{prefix}.idx").unlink()
    with pytest.raises(FileNotFoundError):
        Verification([prefix], tmp_path / "record.json")
