"""Preprocessing killed at any moment: nothing looks finished, nothing hangs, and it goes on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess import preprocess

REPOSITORY = Path(__file__).parents[3]
QUIET = Console(quiet=True)


def outputs(prefix: Path) -> tuple[bytes, bytes]:
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.data.preprocess_plan.SMALLEST_UNIT", 5000)
    monkeypatch.setattr("megalite.data.preprocess_plan.UNITS_WANTED", 10**9)


def test_a_killed_run_leaves_nothing_that_looks_finished_and_resumes(word_tokenizer: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "big.jsonl"
    random = np.random.default_rng(0)
    words = np.array("the cat sat on a mat and then it ran off".split())
    with corpus.open("w") as file:
        for _ in range(60_000):
            file.write(json.dumps({"text": " ".join(random.choice(words, 60))}) + "\n")
    command = [sys.executable, str(REPOSITORY / "tools/preprocess_data.py"), "--input", str(corpus)]
    command += ["--tokenizer", str(word_tokenizer), "--workers", "2", "--output_prefix"]
    subprocess.run([*command, str(tmp_path / "straight")], check=True, capture_output=True)
    prefix, killed_in_the_middle = tmp_path / "killed", False
    semaphores = set(Path("/dev/shm").glob("sem.mp-*"))
    for _ in range(20):
        process = subprocess.Popen(
            [*command, str(prefix)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None:
            if list(Path(f"{prefix}.partial").glob("0*.json")) and not killed_in_the_middle:
                os.killpg(process.pid, signal.SIGKILL)
                killed_in_the_middle = True
                assert not Path(f"{prefix}.idx").exists()
                assert not Path(f"{prefix}.manifest.json").exists()
            time.sleep(0.002)
        output = process.communicate()[0].decode()
        if process.returncode == 0:
            break
    for left in set(Path("/dev/shm").glob("sem.mp-*")) - semaphores:  # a killed pool cannot remove its own
        left.unlink(missing_ok=True)
    assert killed_in_the_middle
    assert "going on with a run that was stopped" in output
    assert outputs(prefix) == outputs(tmp_path / "straight")


@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_a_lone_killed_process_leaves_no_worker_waiting_and_the_run_goes_on(
    word_tokenizer: Path, tmp_path: Path, victim: str
) -> None:
    corpus, prefix = tmp_path / "big.jsonl", tmp_path / "out"
    corpus.write_text((json.dumps({"text": "the cat sat on a mat and then it ran off " * 6}) + "\n") * 20_000)
    command = [sys.executable, str(REPOSITORY / "tools/preprocess_data.py"), "--input", str(corpus), "--workers", "2"]
    command += ["--tokenizer", str(word_tokenizer), "--output_prefix", str(prefix)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(Path(f"{prefix}.partial").glob("0*.json")):
        assert process.poll() is None
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    (process if victim == "parent" else workers[0]).kill()
    _, waiting = psutil.wait_procs(children, timeout=20)
    for left in waiting:
        left.kill()
    assert not waiting
    message = process.communicate(timeout=20)[1]
    if victim == "worker":
        assert process.returncode == 2
        assert "a worker process died" in message
        assert message.count("\n") == 1
    assert not list(tmp_path.glob("out.[!p]*"))
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "going on with a run that was stopped" in again.stdout
    assert verify_manifest(prefix).documents == 20_000
    assert IndexedDataset(prefix).read(0, 12).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1]


def test_a_replaced_output_that_was_killed_between_its_renames_does_not_look_finished(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "out"
    preprocess([str(corpus)], word_tokenizer, prefix, QUIET, append_eod=False)
    preprocess([str(corpus)], word_tokenizer, tmp_path / "straight", QUIET)
    rename = Path.rename

    def killed_after_bin(path: Path, target: Path | str) -> Path:
        if str(target).endswith("out.idx"):
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_after_bin)
        with pytest.raises(KeyboardInterrupt):
            preprocess([str(corpus)], word_tokenizer, prefix, QUIET, overwrite=True)
    with pytest.raises(FileNotFoundError):
        load_manifest(prefix)
    preprocess([str(corpus)], word_tokenizer, prefix, QUIET)
    assert outputs(prefix) == outputs(tmp_path / "straight")


def test_a_shard_that_was_damaged_while_the_run_stood_still_is_made_again(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_units: None
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    prefix = tmp_path / "out"
    preprocess([str(corpus)], word_tokenizer, tmp_path / "straight", QUIET)
    with monkeypatch.context() as patch:
        patch.setattr("megalite.data.preprocess.join_shards", stopped)
        with pytest.raises(KeyboardInterrupt):
            preprocess([str(corpus)], word_tokenizer, prefix, QUIET)
    folder = Path(f"{prefix}.partial")
    kept = (folder / "000003.0.shard").stat().st_mtime_ns
    os.truncate(folder / "000001.0.shard", 10)
    (folder / "000002.json").write_text("")
    content = bytearray((folder / "000004.0.shard").read_bytes())
    content[-1] ^= 1  # a power cut can leave the size and lose the bytes
    (folder / "000004.0.shard").write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr("megalite.data.preprocess.shutil.rmtree", lambda _: None)
        preprocess([str(corpus)], word_tokenizer, prefix, QUIET)
    assert (folder / "000003.0.shard").stat().st_mtime_ns == kept
    assert outputs(prefix) == outputs(tmp_path / "straight")


def test_a_second_run_in_the_same_folder_is_refused(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import megalite.data.preprocess as module

    inner = module._run

    def with_a_rival(*arguments: object) -> object:
        with pytest.raises(DataError, match="another run is at work in it"):
            preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)
        return inner(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_run", with_a_rival)
    assert preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)[0].documents > 0
    assert not list(tmp_path.glob("out.partial*"))


def test_a_finished_output_that_lost_its_tokens_is_not_called_finished(
    corpus: Path, word_tokenizer: Path, tmp_path: Path
) -> None:
    preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)
    os.truncate(tmp_path / "out.bin", 10)
    with pytest.raises(DataError, match=r"out\.bin: is not the size that .* says"):
        preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)


def test_merging_leaves_alone_what_it_did_not_make(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    preprocess([str(corpus)], word_tokenizer, tmp_path / "a", QUIET)
    (tmp_path / "foreign.bin").write_bytes(b"made by Megatron, without a manifest")
    with pytest.raises(DataError, match=r"foreign\.bin: exists"):
        merge([str(tmp_path / "a")], tmp_path / "foreign")
    (tmp_path / "m.partial").mkdir()
    (tmp_path / "m.partial/000000.0.shard").write_bytes(b"a shard of a stopped run")
    merge([str(tmp_path / "a"), str(tmp_path / "a")], tmp_path / "m")
    assert (tmp_path / "m.partial/000000.0.shard").exists()
    assert not (tmp_path / "m.merging").exists()
