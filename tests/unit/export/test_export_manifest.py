"""A checkpoint whose manifest does not prove it whole is neither exported nor resumed from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from megalite.config.errors import DataError
from megalite.training.checkpoint.manifest import verify_files

Change = Callable[[dict[str, Any]], Any]
MANIFESTS: dict[str, tuple[bytes | Change, str]] = {
    "no files": (lambda m: m.update(files={}), "does not list state.json"),
    "files a list": (lambda m: m.update(files=[]), "'files' is a list"),
    "a file of nothing": (lambda m: m["files"].update({"state.json": None}), "not an object of files"),
    "no format": (lambda m: m.pop("format"), "format None is unknown"),
    "another format": (lambda m: m.update(format="megalite-checkpoint-2"), "format 'megalite-checkpoint-2' is unknown"),
    "a list": (b"[]", "contains a list"),
    "nothing": (b"null", "contains nothing"),
    "empty": (b"", "not readable as JSON"),
    "cut": (b'{"files": {"a', "not readable as JSON"),
    "binary": (b"\xff\xfe", "not UTF-8"),
    "weights not listed": (lambda m: m["files"].pop("hf/model.safetensors"), "does not list hf/model.safetensors"),
    "a moment not listed": (
        lambda m: m["files"].pop("optimizer/exp_avg_sq.safetensors"),
        "does not list optimizer/exp_avg_sq.safetensors",
    ),
    "masters not listed": (
        lambda m: m["files"].pop("optimizer/master.safetensors"),
        "optimizer/master.safetensors: is not listed",
    ),
    "a config not listed": (lambda m: m["files"].pop("hf/config.json"), "does not list hf/config.json"),
    "a path that leads out": (lambda m: m["files"].update({"../x": {}}), "is outside the checkpoint"),
    "a wrong size": (lambda m: m["files"]["state.json"].update(bytes=-1), "state.json: differs from its checksum"),
}


@pytest.mark.parametrize("case", MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_proves_nothing_is_refused(
    make_checkpoint: Callable[..., tuple[Path, Any]], case: tuple[bytes | Change, str]
) -> None:
    change, message = case
    folder, _ = make_checkpoint()
    path = folder / "manifest.json"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))
    with pytest.raises(DataError) as refused:
        verify_files(folder)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_shards_are_needed_as_their_index_lists_them(make_checkpoint: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = make_checkpoint(max_shard_bytes=4000)
    verify_files(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    shard = next(name for name in manifest["files"] if "hf/model-00002" in name)
    manifest["files"].pop(shard)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=f"does not list {shard}"):
        verify_files(folder)


def test_a_tensor_file_that_nobody_listed_is_refused(make_checkpoint: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = make_checkpoint(precision="fp32")
    save_file({}, folder / "optimizer/master.safetensors")
    with pytest.raises(DataError, match=r"master\.safetensors: is not listed"):
        verify_files(folder)
