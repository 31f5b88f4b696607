"""Order of the samples: permutation, windows, blends and batches against brute force."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megalite.config.errors import DataError
from megalite.data.index_file import token_dtype, write_index
from megalite.data.samples.fingerprint import MODULUS, sample_fingerprint, samples_fingerprint
from megalite.data.samples.gpt_dataset import GPTDataset, SequentialDataset
from megalite.data.samples.loader import BatchLoader
from megalite.data.samples.permutation import KeyedPermutation


def dataset_of(prefix: Path, lengths: list[int]) -> str:
    """Tokens 0, 1, 2, ... so that a token names its own place."""
    np.arange(sum(lengths), dtype=token_dtype(100)).tofile(f"{prefix}.bin")
    with Path(f"{prefix}.idx").open("wb") as file:
        write_index(file, token_dtype(100), np.array(lengths, dtype=np.int32))
    return str(prefix)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 4097])
def test_the_permutation_is_one(size: int) -> None:
    assert sorted(KeyedPermutation(size, 1)[i] for i in range(size)) == list(range(size))


def test_another_key_is_another_order_and_the_same_key_the_same() -> None:
    orders = [tuple(KeyedPermutation(1000, *key)[i] for i in range(1000)) for key in ((1, 0), (1, 1), (2, 0), (1, 0))]
    assert len(set(orders)) == 3
    assert orders[0] == orders[3]


def test_the_permutation_moves_things_far() -> None:
    order = np.array([KeyedPermutation(10_000, 5)[i] for i in range(10_000)])
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.diff(order).mean()) < 5
    assert np.abs(np.diff(order)).mean() > 3000


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9), length=st.integers(1, 30), seed=st.integers(0, 9))
def test_windows_are_those_of_an_explicit_stream(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], length: int, seed: int
) -> None:
    dataset = GPTDataset(dataset_of(tmp_path_factory.mktemp("d") / "x", lengths), length, seed)
    tokens, starts, epochs = sum(lengths), np.cumsum([0, *lengths]), 4
    stream: list[int] = []
    for epoch in range(-1, epochs + length):
        start = dataset._start_of(epoch)
        assert start in starts
        stream += [(start + i) % tokens for i in range(tokens)]
    windows = epochs * tokens // length
    for number in range(windows):
        first = tokens + number * length - 1  # an epoch before the first gives the very first input
        assert dataset.window(number).tolist() == stream[first : first + length + 1]
    # Samples are a permutation of the windows of their epoch.
    last = dataset.first_window(epochs)
    assert sorted(dataset.window_number(sample) for sample in range(last)) == list(range(last))


@settings(max_examples=80, deadline=None)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9), length=st.integers(1, 30), seed=st.integers(0, 9))
def test_every_token_is_a_label_exactly_once_an_epoch(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], length: int, seed: int
) -> None:
    tokens = sum(lengths)
    if not tokens:
        return
    dataset = GPTDataset(dataset_of(tmp_path_factory.mktemp("d") / "x", lengths), length, seed)
    for epoch in range(3):
        windows = range(dataset.first_window(epoch), dataset.first_window(epoch + 1))
        assert sorted(dataset.window_number(sample) for sample in windows) == list(windows)
        labels = Counter(int(token) for sample in windows for token in dataset[sample][1:])
        if tokens % length == 0:  # the windows of an epoch are exactly its labels
            assert labels == Counter(range(tokens))
    # Else they straddle the epochs, and what the first windows give is e whole epochs and the beginning of the next.
    stream = [int(token) for number in range(dataset.first_window(4)) for token in dataset.window(number)[1:]]
    for begin in range(0, len(stream) - tokens + 1, tokens):
        assert Counter(stream[begin : begin + tokens]) == Counter(range(tokens))


def test_over_many_epochs_every_token_is_learned_equally_often(tmp_path: Path) -> None:
    tokens, length, epochs = 101, 16, 48  # S does not divide N: windows straddle the epochs
    dataset = GPTDataset(dataset_of(tmp_path / "x", [50, 51]), length, seed=3)
    samples = epochs * tokens // length
    counts = Counter(int(token) for sample in range(samples) for token in dataset[sample][1:])
    assert counts == Counter(dict.fromkeys(range(tokens), epochs))


def test_an_epoch_is_read_in_another_order_than_the_one_before(tmp_path: Path) -> None:
    dataset = GPTDataset(dataset_of(tmp_path / "x", [20] * 36), 16, seed=3)
    orders = [[int(dataset[sample][0]) for sample in range(epoch * 45, (epoch + 1) * 45)] for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 3


def test_a_sample_is_a_pure_function_of_seed_and_number(tmp_path: Path) -> None:
    prefix = dataset_of(tmp_path / "x", [30] * 40)
    forwards, backwards = GPTDataset(prefix, 8, 1), GPTDataset(prefix, 8, 1)
    expected = [forwards[i].tolist() for i in range(400)]
    assert [backwards[i].tolist() for i in reversed(range(400))] == expected[::-1]
    assert [GPTDataset(prefix, 8, 1)[i].tolist() for i in range(40)] == expected[:40]  # whatever was read before
    assert [GPTDataset(prefix, 8, 2)[i].tolist() for i in range(400)] != expected


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no token"):
        GPTDataset(dataset_of(tmp_path / "x", []), 8, 1)
    with pytest.raises(DataError, match="at least 2"):
        SequentialDataset(dataset_of(tmp_path / "y", [1]), 8)


@pytest.mark.parametrize("tokens", [2, 8, 9, 10, 16, 17, 18, 40])
def test_validation_takes_every_token_once_in_order(tmp_path: Path, tokens: int) -> None:
    dataset = SequentialDataset(dataset_of(tmp_path / "x", [tokens]), 8)
    labels = np.concatenate([dataset[i][1] for i in range(len(dataset))])
    inputs = np.concatenate([dataset[i][0] for i in range(len(dataset))])
    counted = labels != -100
    assert labels[counted].tolist() == list(range(1, tokens))
    assert inputs[counted].tolist() == list(range(tokens - 1))


def test_the_samples_of_a_step_do_not_depend_on_the_layout(tmp_path: Path) -> None:
    dataset = GPTDataset(dataset_of(tmp_path / "x", [500]), 8, 1)
    sets = []
    for ranks, micro in ((1, 12), (1, 3), (2, 3), (4, 3), (6, 2)):
        loaders = [BatchLoader(dataset, micro, 12, rank, ranks) for rank in range(ranks)]
        for consumed in (0, 12, 24, 240):  # in order, and a jump that the prefetch has not foreseen
            rows = [row for loader in loaders for batch in loader.step_batches(consumed) for row in batch["input_ids"]]
            sets.append((consumed, sorted(row.tolist() for row in rows)))
    by_step: dict[int, list] = {}
    for consumed, rows in sets:
        by_step.setdefault(consumed, []).append(rows)
    for consumed, variants in by_step.items():
        expected = sorted(dataset[consumed + i][:-1].tolist() for i in range(12))
        assert all(rows == expected for rows in variants)


def test_labels_are_the_next_tokens(tmp_path: Path) -> None:
    dataset = GPTDataset(dataset_of(tmp_path / "x", [500]), 8, 1)
    batch = BatchLoader(dataset, 2, 4, 1, 2).step_batches(8)[0]
    assert batch["input_ids"].tolist() == [dataset[10][:-1].tolist(), dataset[11][:-1].tolist()]
    assert batch["labels"].tolist() == [dataset[10][1:].tolist(), dataset[11][1:].tolist()]


@pytest.mark.parametrize("lengths", [[3, 0, 20, 1, 0, 9], [100], [1] * 40])
def test_positions_count_from_document_or_sample_start(tmp_path: Path, lengths: list[int]) -> None:
    prefix = dataset_of(tmp_path / "x", lengths)
    dataset, sequential = GPTDataset(prefix, 8, 1), SequentialDataset(prefix, 8)
    starts = set(np.cumsum([0, *lengths]).tolist())
    for sample in range(60):
        tokens, position = dataset[sample][:-1].tolist(), 0
        for token, found in zip(tokens, dataset.positions(sample), strict=True):
            position = 0 if token in starts else position  # a token names its own place in the file
            assert found == position
            position += 1
    for number in range(len(sequential)):
        position = 0
        for place, found in enumerate(sequential.positions(number), start=number * 8):
            position = 0 if place in starts or place >= sum(lengths) else position
            assert found == position
            position += 1
    batch = BatchLoader(dataset, 2, 4, 1, 2, mask_documents=True).step_batches(8)[0]
    assert batch["positions"].tolist() == [dataset.positions(10).tolist(), dataset.positions(11).tolist()]


def test_fingerprints_add_up_the_same_on_every_layout(tmp_path: Path) -> None:
    dataset = GPTDataset(dataset_of(tmp_path / "x", [500]), 8, 1)
    expected = samples_fingerprint(dataset, 0, 36)
    for ranks, micro in ((1, 12), (2, 3), (6, 2)):
        loaders = [BatchLoader(dataset, micro, 12, rank, ranks) for rank in range(ranks)]
        for loader in loaders:
            for consumed in (0, 12, 24):
                loader.step_batches(consumed)
        assert sum(loader.fingerprint for loader in loaders) % MODULUS == expected
    assert samples_fingerprint(dataset, 1, 36) != expected
    assert samples_fingerprint(GPTDataset(str(tmp_path / "x"), 8, 2), 0, 36) != expected


def test_a_fingerprint_sees_any_changed_or_moved_token() -> None:
    tokens = np.random.default_rng(0).integers(0, 50_000, 257)
    variants = [tokens]
    for place in range(256):
        changed, swapped = tokens.copy(), tokens.copy()
        changed[place] += 1
        swapped[[place, place + 1]] = tokens[[place + 1, place]]
        variants += [changed, swapped]
    assert len({sample_fingerprint(3, variant) for variant in variants}) == len(variants)
    assert len({sample_fingerprint(number, tokens) for number in range(500)}) == 500
