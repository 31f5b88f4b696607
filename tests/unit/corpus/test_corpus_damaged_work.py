"""Files of a work folder that were cut or edited while a run was stopped: one line, and a fresh start ends well."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kills import killed_after
from rich.console import Console
from small_corpus import files, recipe, write_corpus

from megalite.config.errors import DataError
from megalite.corpus.dedup.deduplicate import deduplicate
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.prepare.prepare import prepare_corpus

QUIET = Console(quiet=True)
CONTENTS = (b"", b"[]", b"{}", b"null", b"\xff\xfe", b"\x93NUMPY\x01\x00")


def stopped(folder: Path, target: Path) -> list[Path]:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    return sorted(path for path in target.rglob("*") if path.suffix in (".json", ".npy") and path.name != "plan.json")


@pytest.mark.parametrize("renames", [9, 33])
def test_a_damaged_file_of_a_stopped_corpus_is_named_or_remade(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(write_corpus(tmp_path, monkeypatch))
    out = tmp_path / "out"
    prepare_corpus(asked, tmp_path / "whole", QUIET)
    assert not killed_after(renames, lambda: prepare_corpus(asked, out, QUIET), monkeypatch)
    shutil.copytree(tmp_path / "out.work", tmp_path / "kept")
    told = 0
    damaged = stopped(tmp_path / "kept", tmp_path / "out.work")
    for number, path in enumerate(damaged[:: max(1, len(damaged) // 8)]):
        stopped(tmp_path / "kept", tmp_path / "out.work")
        path.write_bytes(CONTENTS[number % len(CONTENTS)])
        told += _is_told(lambda: prepare_corpus(asked, out, QUIET))
        if out.exists():
            assert files(out) == files(tmp_path / "whole")
            shutil.rmtree(out)
    assert told
    shutil.rmtree(tmp_path / "out.work", ignore_errors=True)
    prepare_corpus(asked, out, QUIET)
    assert files(out) == files(tmp_path / "whole")


def test_a_damaged_file_of_a_stopped_dedup_is_named_or_remade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": f"one two three four five {n % 7} six"}) + "\n" for n in range(40)))
    run = lambda: deduplicate([str(source)], tmp_path / "out", Bands(bands=2), QUIET)  # noqa: E731
    assert not killed_after(9, run, monkeypatch)
    shutil.copytree(tmp_path / "out.work", tmp_path / "kept")
    told = 0
    for path in stopped(tmp_path / "kept", tmp_path / "out.work"):
        for content in CONTENTS:
            stopped(tmp_path / "kept", tmp_path / "out.work")
            path.write_bytes(content)
            told += _is_told(run)
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert told


def _is_told(run: Any) -> bool:
    try:
        run()
    except DataError as error:
        assert len(str(error).splitlines()) == 1
        assert "run" in str(error)
        return True
    return False
