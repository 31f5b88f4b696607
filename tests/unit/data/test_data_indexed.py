"""Our files against megatron-core's, in both directions, and what damaged files are told."""

from pathlib import Path

import numpy as np
import pytest

from megalite.config.errors import DataError
from megalite.data.index_file import token_dtype, write_index
from megalite.data.indexed import IndexedDataset

DOCUMENTS = [[1, 2, 3], [4], [], [5, 6, 7, 8], [9] * 300, []]


def written(prefix: Path, documents: list[list[int]], vocab_size: int = 100) -> Path:
    dtype = token_dtype(vocab_size)
    np.array([token for document in documents for token in document], dtype=dtype).tofile(f"{prefix}.bin")
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, dtype, np.array([len(document) for document in documents], dtype=np.int32))
    return prefix


def by_megatron(prefix: Path, documents: list[list[int]], vocab_size: int = 100) -> Path:
    torch = pytest.importorskip("torch")
    megatron = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="pip install megatron-core==0.16.1")
    builder = megatron.IndexedDatasetBuilder(f"{prefix}.bin", dtype=megatron.DType.optimal_dtype(vocab_size))
    for document in documents:
        builder.add_document(torch.tensor(document, dtype=torch.int64), [len(document)])
    builder.finalize(f"{prefix}.idx")
    return prefix


@pytest.mark.parametrize("vocab_size", [100, 65_499, 65_500, 200_000])
def test_files_are_byte_for_byte_those_of_megatron_core(tmp_path: Path, vocab_size: int) -> None:
    ours = written(tmp_path / "ours", DOCUMENTS, vocab_size)
    theirs = by_megatron(tmp_path / "theirs", DOCUMENTS, vocab_size)
    for suffix in (".bin", ".idx"):
        assert Path(f"{ours}{suffix}").read_bytes() == Path(f"{theirs}{suffix}").read_bytes()


def test_megatron_core_reads_our_files(tmp_path: Path) -> None:
    megatron = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="pip install megatron-core==0.16.1")
    dataset = megatron.IndexedDataset(str(written(tmp_path / "ours", DOCUMENTS)))
    assert [dataset[i].tolist() for i in range(len(dataset))] == DOCUMENTS


def test_we_read_megatron_cores_files(tmp_path: Path) -> None:
    dataset = IndexedDataset(by_megatron(tmp_path / "theirs", DOCUMENTS))
    assert [dataset.document(i).tolist() for i in range(dataset.num_documents)] == DOCUMENTS
    assert dataset.num_tokens == 308


def test_an_index_longer_than_a_chunk_equals_the_plain_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.data.index_file.CHUNK", 7)
    lengths = np.arange(1, 40, dtype=np.int32)
    documents = [[0] * length for length in lengths]
    index = IndexedDataset(written(tmp_path / "x", documents)).index
    assert np.array_equal(index.offsets, (np.cumsum(lengths) - lengths) * 2)
    assert np.array_equal(index.boundaries, np.arange(40))


def test_a_token_is_traced_to_its_document(tmp_path: Path) -> None:
    dataset = IndexedDataset(written(tmp_path / "x", DOCUMENTS))
    expected = [number for number, document in enumerate(DOCUMENTS) for _ in document]
    assert [dataset.document_at(token) for token in range(dataset.num_tokens)] == expected


def test_a_pickled_dataset_reads_on(tmp_path: Path) -> None:
    import pickle

    dataset = pickle.loads(pickle.dumps(IndexedDataset(written(tmp_path / "x", DOCUMENTS))))
    assert dataset.read(2, 3).tolist() == [3, 4, 5]


def test_documents_of_several_sequences_or_of_none_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    megatron = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="pip install megatron-core==0.16.1")
    builder = megatron.IndexedDatasetBuilder(f"{tmp_path / 'x'}.bin", dtype=megatron.DType.optimal_dtype(100))
    builder.add_document(torch.tensor([1, 2, 3]), [2, 1])
    builder.add_document(torch.tensor([], dtype=torch.int64), [])  # what Megatron's script makes of an empty text
    builder.add_document(torch.tensor([4, 5]), [2])
    builder.finalize(f"{tmp_path / 'x'}.idx")
    dataset = IndexedDataset(tmp_path / "x")
    assert [dataset.document(i).tolist() for i in range(dataset.num_documents)] == [[1, 2, 3], [], [4, 5]]
    assert [dataset.document_at(token) for token in range(5)] == [0, 0, 0, 2, 2]


@pytest.mark.parametrize("sampled", [False, True], ids=["checked whole", "checked in places"])
@pytest.mark.parametrize("array", ["length", "offset", "boundary"])
@pytest.mark.parametrize("place", [1, 500, 998])
def test_an_index_that_contradicts_itself_inside_is_refused(
    tmp_path: Path, array: str, place: int, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = written(tmp_path / "x", [[0] * 3] * 1000)
    if sampled:  # three stretches of 100 entries, at 0, 450 and 900
        monkeypatch.setattr("megalite.data.index_file.CHECKED_WHOLE", 300)
        monkeypatch.setattr("megalite.data.index_file.CHECKED_PLACES", 3)
    position = {"length": 34 + 4 * place, "offset": 34 + 4000 + 8 * place, "boundary": 34 + 12_000 + 8 * place}[array]
    content = bytearray(Path(f"{prefix}.idx").read_bytes())
    content[position : position + 4] = b"\xff\xff\xff\x7f"
    Path(f"{prefix}.idx").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.idx: .*damaged, preprocess the data again"):
        IndexedDataset(prefix)


def test_damaged_files_are_told_from_whole_ones(tmp_path: Path) -> None:
    prefix = written(tmp_path / "x", DOCUMENTS)
    index, tokens = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
    good_index, good_tokens = index.read_bytes(), tokens.read_bytes()

    def refused(message: str, index_bytes: bytes = good_index, token_bytes: bytes = good_tokens) -> None:
        index.write_bytes(index_bytes)
        tokens.write_bytes(token_bytes)
        with pytest.raises(DataError, match=message) as caught:
            IndexedDataset(prefix)
        assert "\n" not in str(caught.value)

    refused("616, its index describes 616|truncated", token_bytes=good_tokens[:-2])
    refused("longer than it should be", token_bytes=good_tokens + b"\0\0")
    refused("not an index file", b"NOTMEGATR" + good_index[9:])
    refused("index version 2", good_index[:9] + b"\2" + good_index[10:])
    refused("dtype code 77", good_index[:17] + b"\x4d" + good_index[18:])
    refused("truncated or damaged", good_index[:-8])
    refused("too short for an index", good_index[:10])
    refused("last document ends at sequence 9 of 6", good_index[:-8] + (9).to_bytes(8, "little"))
    index.write_bytes(good_index)
    tokens.unlink()
    with pytest.raises(FileNotFoundError, match="missing, although its index exists"):
        IndexedDataset(prefix)
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.idx: missing"):
        IndexedDataset(prefix)
