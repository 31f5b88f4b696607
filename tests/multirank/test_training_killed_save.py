"""A save that is cut off anywhere leaves the newest whole checkpoint; nothing has its name before it is on the disk."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kills import Killed

from megalite.config.ds_config import merge_ds_config
from megalite.config.schema import RunConfig
from megalite.parallel.mesh import Mesh
from megalite.parity.launch import run_on_ranks
from megalite.training.checkpoint import tensor_files
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.checkpoint.save import save_checkpoint
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.engine import Engine
from megalite.training.run_folder import checkpoints, open_run_folder
from runs import checksums, run_config, write_data


def at_every_point(patch: pytest.MonkeyPatch, before: Callable[[str, Any], None]) -> None:
    """Call ``before(what, first argument)`` at everything in a save that changes the disk."""

    def watched(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            before(name, arguments[1] if name == "save_file" else arguments[0])
            return plain(*arguments, **keywords)

        return call

    for name in ("fsync", "rename", "mkdir", "unlink", "rmdir"):
        patch.setattr(os, name, watched(name, getattr(os, name)))
    patch.setattr(tensor_files, "save_file", watched("save_file", tensor_files.save_file))
    patch.setattr(Path, "write_text", watched("write_text", Path.write_text))


def engine_after_a_step(config: RunConfig) -> tuple[Engine, dict[str, Any]]:
    """A ZeRO-1 engine with something to save, and its DeepSpeed config."""
    mesh = Mesh.create()
    ds_config = merge_ds_config(config, {"zero_optimization": {"stage": 1}}, mesh.shape, "yaml", "json")
    engine = Engine(config, ds_config, mesh, torch.device("cpu"))
    batch = {key: torch.ones(2, 16, dtype=torch.long) for key in ("input_ids", "labels")}
    engine.train_step([batch] * 4, 1e-2)
    return engine, ds_config


def saves_cut_off(folder: Path) -> int:
    """Cut a save off before its first, second ... change of the disk; the number of changes in a whole save."""
    config = run_config(folder, checkpoint={"keep_last": 2})
    engine, ds_config = engine_after_a_step(config)

    def save(step: int) -> None:
        state = TrainingState(step, 8 * step, config.run.seed, 16, checksums(config))
        save_checkpoint(engine, config, ds_config, folder / "run", state)

    (folder / "run").mkdir()
    save(1)
    save(2)
    shutil.copytree(folder / "run", folder / "saved")
    cut = 0
    while True:
        shutil.rmtree(folder / "run")
        shutil.copytree(folder / "saved", folder / "run")
        left = cut

        def before(*_: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            at_every_point(patch, before)
            try:
                save(3)
                finished = True
            except Killed:
                finished = False
        named = sorted(path.name for path in (folder / "run").glob("step-??????"))
        whole = checkpoints(folder / "run")
        assert named == [path.name for path in whole], cut
        for checkpoint in whole:
            verify_files(checkpoint)
        assert len(whole) >= 2, f"after {cut} changes only {named} are left"
        if finished:
            assert named == ["step-000002", "step-000003"]
            return cut
        open_run_folder(folder / "run", config, ds_config, int(whole[-1].name[-6:]))
        assert not list((folder / "run").glob("*.partial"))
        cut += 1


def test_an_interrupted_save_leaves_two_whole_checkpoints(tmp_path: Path) -> None:
    write_data(tmp_path)
    assert run_on_ranks(saves_cut_off, 1, tmp_path)[0] > 30


def order_of_a_save(folder: Path) -> list[tuple[str, str]]:
    config = run_config(folder, checkpoint={"keep_last": 1})
    engine, ds_config = engine_after_a_step(config)
    (folder / "run").mkdir()
    done: list[tuple[str, str]] = []

    def before(what: str, where: Any) -> None:
        path = Path(f"/proc/self/fd/{where}").readlink() if isinstance(where, int) else Path(where)
        done.append((what, str(path.relative_to(folder) if path.is_absolute() else path)))

    for step in (1, 2):
        done.clear()
        with pytest.MonkeyPatch.context() as patch:
            at_every_point(patch, before)
            state = TrainingState(step, 8 * step, config.run.seed, 16, checksums(config))
            save_checkpoint(engine, config, ds_config, folder / "run", state)
    return done


def test_a_save_flushes_then_renames_then_deletes(tmp_path: Path) -> None:
    write_data(tmp_path)
    (done,) = run_on_ranks(order_of_a_save, 1, tmp_path)
    named = done.index(("rename", "run/step-000002.partial"))
    flushed = {path for what, path in done[:named] if what == "fsync"}
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "run/step-000002").rglob("*")}
    wanted = {name.replace("step-000002", "step-000002.partial") for name in files} | {"run/step-000002.partial"}
    assert flushed == wanted
    last_write = max(number for number, (what, _) in enumerate(done) if what in ("save_file", "write_text"))
    assert done[last_write + 1 :].index(("fsync", "run/step-000002.partial/manifest.json")) >= 0
    after = done[named + 1 :]
    assert after[0] == ("fsync", "run")
    assert after[1] == ("rename", "run/step-000001"), "what is deleted loses its name first"
    assert not [what for what, _ in done[:named] if what in ("unlink", "rmdir")]
