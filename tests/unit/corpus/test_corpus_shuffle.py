import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest

from megalite.corpus.prepare import shuffle
from megalite.corpus.prepare.shuffle import ShuffledShards
from megalite.files.readers.input_files import open_bytes
from megalite.files.whole_folder import whole_folder


def key(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def shards(folder: Path) -> list[list[bytes]]:
    return [list(open_bytes(path)) for path in sorted(folder.glob("x-*.jsonl.zst"))]


@pytest.mark.parametrize(("run_bytes", "most_runs"), [(1 << 20, 64), (2_000, 64), (500, 2), (500, 3), (1, 5)])
def test_spilling_and_merging_equal_one_sort_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int, most_runs: int
) -> None:
    monkeypatch.setattr(shuffle, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(shuffle, "MOST_RUNS", most_runs)
    monkeypatch.setattr(shuffle, "SHARD_BYTES", 700)
    lines = [f'{{"text": "{n % 190}"}}\n'.encode() for n in range(200)]  # ten of them twice
    written = ShuffledShards(tmp_path, "x")
    for line in random.Random(run_bytes).sample(lines, len(lines)):
        written.add(key(line), line)
    written.finish()
    got = shards(tmp_path)
    assert [line for shard in got for line in shard] == sorted(lines, key=lambda line: (key(line), line))
    assert len(got) > 3
    assert all(700 <= sum(map(len, shard)) < 720 for shard in got[:-1])
    assert got[-1]
    assert not list(tmp_path.glob("*.run*"))


def test_nothing_is_one_empty_shard(tmp_path: Path) -> None:
    ShuffledShards(tmp_path, "x").finish()
    assert shards(tmp_path) == [[]]


def test_memory_is_bounded_by_runs_not_by_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "RUN_BYTES", 500_000)
    monkeypatch.setattr(shuffle, "MOST_RUNS", 3)
    written, size = ShuffledShards(tmp_path, "x"), 0
    tracemalloc.start()
    for number in range(1_500):
        line = random.Random(number).randbytes(11_000).hex().encode() + b"\n"
        size += len(line)
        written.add(key(line), line)
    written.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(len(shard) for shard in shards(tmp_path)) == 1_500
    assert peak < size / 2  # an open run has a buffer of a megabyte


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as partial:
        (partial / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as partial:
        (partial / "a").write_text("2")
        raise KeyboardInterrupt
    assert (tmp_path / "out/a").read_text() == "1"
    with whole_folder(tmp_path / "out") as partial:
        (partial / "b").write_text("3")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "b"]
