"""Statistics of an indexed dataset against numpy over the whole file."""

from pathlib import Path

import numpy as np
import pytest

from megalite.data.index_file import HEADER, MAGIC, VERSION
from megalite.data.indexed import IndexedDataset
from megalite.data.inspect.statistics import dataset_statistics
from runs import write_documents


@pytest.mark.parametrize("chunk", [3, 1 << 22])
def test_statistics_equal_numpy_over_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("megalite.data.inspect.statistics.CHUNK", chunk)
    lengths = [0, 3, 0, 17, 1, 64, 63, 65, 2, 2, 5, 0]
    tokens = write_documents(tmp_path / "x", lengths)
    seen: list[int] = []
    found = dataset_statistics(IndexedDataset(tmp_path / "x"), seen.append)
    assert sum(seen) == found.tokens == sum(lengths)
    ids, counts = np.unique(tokens, return_counts=True)
    assert found.distinct_ids == len(ids)
    assert found.largest_id == ids.max()
    assert {i: int(found.counts[i]) for i in np.flatnonzero(found.counts)} == dict(zip(ids, counts, strict=True))
    assert [count for _, count in found.most_frequent] == sorted(counts.tolist(), reverse=True)[:20]
    told = found.lengths
    assert (told.empty, told.longest) == (3, 65)
    assert (told.mean, told.median) == (np.mean(lengths), np.median(lengths))
    assert [told.p5, told.p95] == np.percentile(lengths, [5, 95]).tolist()
    for low, high, bar in told.histogram:
        assert bar == sum(low <= length <= high for length in lengths)
    assert sum(bar for _, _, bar in told.histogram) == len(lengths)


def test_documents_of_several_sequences_count_with_all_of_them(tmp_path: Path) -> None:
    lengths, boundaries = [4, 0, 6, 1, 5], [0, 2, 2, 4, 5]
    np.arange(16, dtype=np.uint16).tofile(tmp_path / "x.bin")
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]) * 2
    (tmp_path / "x.idx").write_bytes(
        HEADER.pack(MAGIC, VERSION, 8, 5, 5)
        + np.array(lengths, "<i4").tobytes()
        + offsets.astype("<i8").tobytes()
        + np.array(boundaries, "<i8").tobytes()
    )
    dataset = IndexedDataset(tmp_path / "x")
    found = dataset_statistics(dataset, lambda _: None)
    assert (found.documents, found.sequences, found.lengths.longest, found.lengths.empty) == (4, 5, 7, 1)
    assert dataset.parts(2, 14) == [(0, 2, 2), (2, 0, 7), (3, 0, 5)]
