import json
from pathlib import Path
from typing import Any

import pytest
import torch

from megalite.config.errors import ConfigError
from megalite.training.run_folder import (
    checkpoint_to_resume,
    checkpoints,
    how_to_resume,
    remove_old_checkpoints,
    step_folder,
    undo_records,
)
from megalite.training.session import _agree_on


def finished(run: Path, step: int) -> Path:
    folder = step_folder(run, step)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_the_newest_whole_checkpoint_is_found_by_number(tmp_path: Path) -> None:
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
    with pytest.raises(ConfigError, match="no such run folder"):
        checkpoint_to_resume(tmp_path / "none", "")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"contains no finished checkpoint, and 'thesis\.tex'"):
        checkpoint_to_resume(tmp_path, "")
    with pytest.raises(ConfigError, match="not a checkpoint folder"):
        checkpoint_to_resume(tmp_path, str(tmp_path / "elsewhere"))


def test_resuming_an_older_checkpoint_needs_its_own_folder(tmp_path: Path) -> None:
    old, new = finished(tmp_path / "run", 5), finished(tmp_path / "run", 10)
    with pytest.raises(ConfigError, match="step-000010 is newer, and the run would reach it again"):
        checkpoint_to_resume(tmp_path / "run", str(old))
    assert checkpoint_to_resume(tmp_path / "run", str(new)) == new
    assert checkpoint_to_resume(tmp_path / "other", str(old)) == old
    with pytest.raises(ConfigError, match=r"the run folder .* exists"):
        finished(tmp_path / "third", 1)
        checkpoint_to_resume(tmp_path / "third", str(old))


def test_a_run_without_a_checkpoint_starts_again(tmp_path: Path) -> None:
    for name in ("run.yaml", "ds_config.json", "metrics.jsonl", ".lock"):
        (tmp_path / name).touch()
    (tmp_path / "step-000500.partial").mkdir()
    assert checkpoint_to_resume(tmp_path, None) is None
    assert checkpoint_to_resume(tmp_path, "") is None
    assert how_to_resume(tmp_path) == "no checkpoint was written yet: run the same command again"
    finished(tmp_path, 5)
    assert how_to_resume(tmp_path) == "resume from the last checkpoint with --resume"


def test_a_folder_at_a_later_checkpoints_name_is_refused(tmp_path: Path) -> None:
    finished(tmp_path, 5)
    step_folder(tmp_path, 10).mkdir()
    with pytest.raises(ConfigError, match=r"step-000010: is not a complete checkpoint .* move it away"):
        checkpoint_to_resume(tmp_path, "")


def test_records_of_steps_that_are_done_again_are_moved_aside(tmp_path: Path) -> None:
    lines = [json.dumps({"event": "train", "step": step}) + "\n" for step in (1, 2, 3, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"event": "tr')
    undo_records(tmp_path, 2)
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(lines[:2])
    assert (tmp_path / "metrics.undone.jsonl").read_text() == "".join(lines[2:]) + '{"event": "tr'


def written(run: Path, step: int, name: str) -> Path:
    folder = step_folder(run, step)
    folder.mkdir()
    (folder / "run.yaml").write_text(f"run: {{name: {name}}}\n")
    (folder / "manifest.json").write_text(json.dumps({"files": {"run.yaml": {}}}))
    return folder


def test_only_checkpoints_that_this_run_has_written_are_deleted(tmp_path: Path) -> None:
    written(tmp_path, 1, "another")
    (written(tmp_path, 2, "mine") / "notes.txt").write_text("by hand")
    for step in (3, 4, 5):
        written(tmp_path, step, "mine")
    step_folder(tmp_path, 9).mkdir()
    remove_old_checkpoints(tmp_path, "mine", 2)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["1", "2", "4", "5", "9"]


@pytest.mark.parametrize(("others", "agree"), [("step-000006", True), ("step-000003", False), (None, False)])
def test_machines_that_see_other_checkpoints_do_not_begin(
    monkeypatch: pytest.MonkeyPatch, others: str | None, agree: bool
) -> None:
    def gather(seen: list[Any], own: Any) -> None:
        seen[:] = [own, others]

    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    if agree:
        _agree_on(Path("runs/a/step-000006"))
        return
    with pytest.raises(ConfigError, match=rf"see different newest checkpoints \(.*{others}.*name one with --resume"):
        _agree_on(Path("runs/a/step-000006"))
