"""The command: what it says, and that mistakes are one line and exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from megalite.config.errors import ConfigError
from megalite.export.export_hf import main, size_in_bytes
from megalite.export.exported_folder import export_checkpoint


def run_command(monkeypatch: pytest.MonkeyPatch, checkpoint: object, output: object, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["export_hf.py", str(checkpoint), "--output", str(output), *map(str, options)])
    main()


def test_the_command_exports_and_says_what_came_out(
    make_checkpoint: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, model = make_checkpoint()
    run_command(monkeypatch, checkpoint, tmp_path / "out", "--dtype", "fp16", "--max_shard_size", "10KB")
    said = capsys.readouterr().out
    assert "17,472 in fp16" in said
    assert "34,944 bytes in 4 file(s)" in said
    assert "computed in fp16" in said
    files = (tmp_path / "out").glob("*.safetensors")
    got = {name: tensor for path in files for name, tensor in load_file(path).items()}
    assert all(torch.equal(got[name], parameter.half()) for name, parameter in model.named_parameters())


def test_mistakes_are_one_line_and_exit_code_2(
    make_checkpoint: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, _ = make_checkpoint()
    out, taken, damaged = tmp_path / "out", tmp_path / "taken", tmp_path / "damaged"
    taken.mkdir()
    (damaged / "hf").mkdir(parents=True)
    for path in checkpoint.rglob("*.*"):
        (damaged / path.relative_to(checkpoint)).parent.mkdir(exist_ok=True)
        (damaged / path.relative_to(checkpoint)).write_bytes(path.read_bytes())
    weights = damaged / "hf" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for arguments, message in [
        ((tmp_path / "none", out), "none: no such checkpoint; give a runs/NAME/step-* folder"),
        ((taken, out), "taken: not a checkpoint folder (no manifest.json in it); give a runs/NAME"),
        ((checkpoint.parent, out), f"did you mean its newest checkpoint, {checkpoint}?"),
        ((checkpoint / "hf", out), f"did you mean {checkpoint}?"),
        ((damaged, out), "hf/model.safetensors: differs from its checksum"),
        ((damaged, out, "--no_verify"), "damaged: the tensor files are damaged"),
        ((checkpoint, taken), "taken: exists; choose another --output"),
        ((checkpoint, checkpoint / "bf16"), "is inside the input"),
        ((checkpoint, out, "--dtype", "fp8"), "--dtype fp8: unknown; choose one of fp32, bf16, fp16"),
        ((checkpoint, out, "--max_shard_size", "2 boxes"), "--max_shard_size 2 boxes: not a size"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            run_command(monkeypatch, *arguments)
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert not list(tmp_path.glob("out*"))
    assert not list(taken.iterdir())


def test_a_full_disk_is_refused_before_the_work(
    make_checkpoint: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, _ = make_checkpoint()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ConfigError, match="the weights need 34,944 bytes, but 1,000 are free"):
        export_checkpoint(checkpoint, tmp_path / "out")


def test_sizes_are_read_in_both_kinds_of_units() -> None:
    assert [size_in_bytes(text) for text in ("2GB", "1.5mb", "4GiB", "700")] == [
        2 * 10**9,
        1_500_000,
        4 * 2**30,
        700,
    ]
    for text in ("", "GB", "-1GB", "0", "1TBB"):
        with pytest.raises(ConfigError, match="not a size"):
            size_in_bytes(text)
