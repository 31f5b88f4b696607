"""Preprocessing killed at any moment: nothing looks finished, nothing hangs, and it goes on to the same bytes."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import load_manifest, verify_manifest
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.training.shared_memory import remove_stale_buffers

REPOSITORY = Path(__file__).parents[3]
QUIET = Console(quiet=True)


def outputs(prefix: Path) -> tuple[bytes, bytes]:
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 5000)
    monkeypatch.setattr("megalite.data.preprocess.plan.UNITS_WANTED", 10**9)


SMALL_UNITS = """
import sys
import megalite.data.preprocess.plan as plan
from megalite.data.preprocess.command import main
if __name__ == "__main__":
    plan.SMALLEST_UNIT, plan.UNITS_WANTED = 20_000, 10**9
    main()
"""


def test_a_run_killed_repeatedly_ends_with_equal_bytes(word_tokenizer: Path, tmp_path: Path) -> None:
    corpus, script, draw = tmp_path / "big.jsonl", tmp_path / "command.py", random.Random(7)
    words = "the cat sat on a mat and then it ran off".split()
    with corpus.open("w") as file:
        for _ in range(3000):
            file.write(json.dumps({"text": " ".join(draw.choices(words, k=60)), "s": draw.choice(words)}) + "\n")
    script.write_text(SMALL_UNITS)
    command = [sys.executable, str(script), "--input", str(corpus), "--tokenizer", str(word_tokenizer)]
    command += ["--workers", "2", "--keys", "text", "s", "--output_prefix"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    preprocess([str(corpus)], word_tokenizer, tmp_path / "straight", QUIET, options=PreprocessOptions(("text", "s")))
    prefix, kills, went_on = tmp_path / "killed", 0, 0
    for _ in range(20):
        process = subprocess.Popen(
            [*command, str(prefix)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            env=environment,
        )  # fmt: skip
        done = len(list(Path(f"{prefix}.partial/tokens").glob("0*.json")))
        while process.poll() is None:
            if kills < 5 and len(list(Path(f"{prefix}.partial/tokens").glob("0*.json"))) > done + draw.randrange(5):
                time.sleep(draw.random() * 0.02)
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        went_on += "resuming a run that was stopped" in process.communicate(timeout=60)[0].decode()
        if process.returncode == 0:
            break
        for key in ("text", "s"):
            assert not Path(f"{prefix}_{key}_document.manifest.json").exists()
    remove_stale_buffers(pattern="sem.mp-*")  # a killed pool cannot remove its own
    assert kills >= 3
    assert went_on >= 1
    for key in ("text", "s"):
        assert outputs(tmp_path / f"killed_{key}_document") == outputs(tmp_path / f"straight_{key}_document")
    assert not Path(f"{prefix}.partial").exists()


@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_a_killed_parent_or_worker_leaves_no_process_waiting(word_tokenizer: Path, tmp_path: Path, victim: str) -> None:
    corpus, prefix = tmp_path / "big.jsonl", tmp_path / "out"
    corpus.write_text((json.dumps({"text": "the cat sat on a mat and then it ran off " * 6}) + "\n") * 20_000)
    command = [sys.executable, str(REPOSITORY / "tools/preprocess_data.py"), "--input", str(corpus), "--workers", "2"]
    command += ["--tokenizer", str(word_tokenizer), "--output_prefix", str(prefix)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(Path(f"{prefix}.partial/tokens").glob("0*.json")):
        assert process.poll() is None
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
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
    again = io.StringIO()
    preprocess([str(corpus)], word_tokenizer, prefix, Console(file=again, width=200))
    assert "resuming a run that was stopped" in again.getvalue()
    assert verify_manifest(prefix).documents == 20_000
    assert IndexedDataset(prefix).read(0, 12).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1]


def test_an_output_killed_between_renames_looks_unfinished(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "out"
    preprocess([str(corpus)], word_tokenizer, prefix, QUIET, options=PreprocessOptions(append_eod=False))
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


def test_a_shard_damaged_between_runs_is_remade(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_units: None
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    prefix = tmp_path / "out"
    preprocess([str(corpus)], word_tokenizer, tmp_path / "straight", QUIET)
    with monkeypatch.context() as patch:
        patch.setattr("megalite.data.preprocess.command.join_shards", stopped)
        with pytest.raises(KeyboardInterrupt):
            preprocess([str(corpus)], word_tokenizer, prefix, QUIET)
    folder = Path(f"{prefix}.partial/tokens")
    kept = (folder / "000003.0.shard").stat().st_mtime_ns
    os.truncate(folder / "000001.0.shard", 10)
    (folder / "000002.json").write_text("")
    content = bytearray((folder / "000004.0.shard").read_bytes())
    content[-1] ^= 1  # a power cut can leave the size and lose the bytes
    (folder / "000004.0.shard").write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr("megalite.jobs.work_folder.remove_ours", lambda _: None)
        preprocess([str(corpus)], word_tokenizer, prefix, QUIET)
    assert (folder / "000003.0.shard").stat().st_mtime_ns == kept
    assert outputs(prefix) == outputs(tmp_path / "straight")


def test_a_second_run_in_the_same_folder_is_refused(
    corpus: Path, word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import megalite.data.preprocess.command as module

    inner = module.run_job

    def with_a_rival(*arguments: Any) -> None:
        with pytest.raises(DataError, match="is in use by another run"):
            preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)
        inner(*arguments)

    monkeypatch.setattr(module, "run_job", with_a_rival)
    assert preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)[0].documents > 0
    assert not list(tmp_path.glob("out.partial*"))


def test_an_output_without_its_tokens_is_not_finished(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
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


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(word_tokenizer: Path, tmp_path: Path) -> None:
    corpus, script, prefix = tmp_path / "big.jsonl", tmp_path / "command.py", tmp_path / "out"
    corpus.write_text((json.dumps({"text": "the cat sat on a mat and then it ran off " * 6}) + "\n") * 2000)
    # a limit on the size of a file stands for the full disk: its error comes from the same writes
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
    command = [
        sys.executable,
        str(script),
        "--input",
        str(corpus),
        "--tokenizer",
        str(word_tokenizer),
        "--workers",
        "1",
    ]
    command += ["--output_prefix", str(prefix)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    script.write_text(limit + SMALL_UNITS)  # every unit fits, the joined file does not
    full = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert full.returncode == 2
    assert full.stderr.count("\n") == 1
    assert "make room and run the same command again" in full.stderr
    assert not list(tmp_path.glob("out.[!p]*"))
    assert len(list(Path(f"{prefix}.partial/tokens").glob("0*.json"))) > 10
    script.write_text(SMALL_UNITS)
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "resuming a run that was stopped" in again.stdout
    assert verify_manifest(prefix).documents == 2000


def test_a_line_too_long_for_memory_is_skipped_and_located(
    word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_units: None
) -> None:
    monkeypatch.setattr("megalite.files.readers.json_lines.LONGEST_LINE", 10_000)
    corpus = tmp_path / "long.jsonl"
    short, long = json.dumps({"text": "the cat"}) + "\n", json.dumps({"text": "cat " * 20_000}) + "\n"
    corpus.write_text(short * 200 + long + short * 200)
    with pytest.raises(DataError, match=r"long\.jsonl:201: a line of more than 10,000 bytes"):
        preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(on_error="fatal"))
    manifest = preprocess([str(corpus)], word_tokenizer, tmp_path / "out", QUIET)[0]
    assert (manifest.documents, manifest.malformed) == (400, 1)


def test_nul_bytes_are_text_and_lone_surrogates_are_malformed(word_tokenizer: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "odd.jsonl"
    corpus.write_bytes(
        b'{"text": "the \\u0000 cat"}\n' + b'{"text": "the \\ud800 cat"}\n' + b'{"text": "the \x00 cat"}\n'
        b'{"text": "the \xed\xa0\x80 cat"}\n' + b'{"text": "\\ud83d\\ude00 cat"}\n'
    )  # fmt: skip
    manifest = preprocess(
        [str(corpus)], word_tokenizer, tmp_path / "out", QUIET, options=PreprocessOptions(max_malformed=3)
    )[0]
    assert (manifest.documents, manifest.malformed) == (2, 3)
