from pathlib import Path

import pytest

from megalite.config.errors import ConfigError
from megalite.training.run_folder import checkpoint_to_resume, checkpoints, step_folder


def finished(run: Path, step: int) -> Path:
    folder = step_folder(run, step)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_the_newest_checkpoint_is_by_number_and_partial_ones_do_not_count(tmp_path: Path) -> None:
    for step in (500, 1000000, 1500):
        finished(tmp_path, step)
    (tmp_path / "step-2000000.partial").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000500", "step-001500", "step-1000000"]
    assert checkpoint_to_resume(tmp_path, "") == tmp_path / "step-1000000"


def test_a_run_folder_is_never_silently_reused(tmp_path: Path) -> None:
    finished(tmp_path, 5)
    with pytest.raises(ConfigError, match="exists; continue it with --resume, or choose another name"):
        checkpoint_to_resume(tmp_path, None)


def test_a_fresh_run_needs_no_folder(tmp_path: Path) -> None:
    assert checkpoint_to_resume(tmp_path / "new", None) is None


def test_resuming_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run folder"):
        checkpoint_to_resume(tmp_path / "none", "")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds no finished checkpoint, and 'thesis\.tex'"):
        checkpoint_to_resume(tmp_path, "")
    with pytest.raises(ConfigError, match="not a checkpoint folder"):
        checkpoint_to_resume(tmp_path, str(tmp_path / "elsewhere"))


def test_going_on_from_an_older_checkpoint_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    old, new = finished(tmp_path / "run", 5), finished(tmp_path / "run", 10)
    with pytest.raises(ConfigError, match="step-000010 is newer and would be met again"):
        checkpoint_to_resume(tmp_path / "run", str(old))
    assert checkpoint_to_resume(tmp_path / "run", str(new)) == new
    assert checkpoint_to_resume(tmp_path / "other", str(old)) == old
    with pytest.raises(ConfigError, match=r"the run folder .* exists"):
        finished(tmp_path / "third", 1)
        checkpoint_to_resume(tmp_path / "third", str(old))
