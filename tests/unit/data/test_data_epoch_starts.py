"""Where an epoch begins: at a document, another one every time, the same for everyone with the seed."""

from pathlib import Path

import numpy as np
import pytest

from megalite.data.index_file import token_dtype, write_index
from megalite.data.samples.gpt_dataset import GPTDataset


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """Twelve documents of 1 to 12 tokens, then an empty one; token n is n."""
    lengths = [*range(1, 13), 0]
    np.arange(sum(lengths), dtype=token_dtype(100)).tofile(tmp_path / "x.bin")
    with (tmp_path / "x.idx").open("wb") as file:
        write_index(file, token_dtype(100), np.array(lengths, dtype=np.int32))
    return str(tmp_path / "x")


def starts(dataset: GPTDataset, epochs: int) -> list[int]:
    """First label of each epoch: window k has the labels k*S .. k*S + S - 1 of the stream."""
    stream = np.concatenate([dataset.window(k)[1:] for k in range(-(-epochs * dataset.tokens // 7))])
    return [int(stream[epoch * dataset.tokens]) for epoch in range(epochs)]


def test_epochs_begin_at_documents_drawn_by_the_seed(prefix: str) -> None:
    begins = set(np.cumsum([0, *range(1, 12)]).tolist())
    found = starts(GPTDataset(prefix, 7, 1), 60)
    assert set(found) <= begins
    assert len(set(found)) > 8  # of twelve, in sixty draws
    assert found == starts(GPTDataset(prefix, 7, 1), 60)
    assert found != starts(GPTDataset(prefix, 7, 2), 60)


def test_an_epoch_holds_every_token_once_wherever_it_begins(prefix: str) -> None:
    dataset = GPTDataset(prefix, 7, 1)
    stream = np.concatenate([dataset.window(k)[1:] for k in range(100)])
    for epoch in range(8):
        own = stream[epoch * 78 : (epoch + 1) * 78]
        first = int(own[0])
        assert own.tolist() == [*range(first, 78), *range(first)]  # in the order of the file, around its end


def test_inputs_are_the_labels_one_place_on(prefix: str) -> None:
    dataset = GPTDataset(prefix, 7, 1)
    for k in range(50):
        assert dataset.window(k)[-1] == dataset.window(k + 1)[0]
        assert len(dataset.window(k)) == 8


def test_every_epoch_has_each_window_once_in_its_own_order(prefix: str) -> None:
    dataset = GPTDataset(prefix, 6, 1)  # 78 tokens: thirteen windows an epoch
    orders = [[dataset.window_number(sample) - 13 * e for sample in range(13 * e, 13 * e + 13)] for e in range(4)]
    assert all(sorted(order) == [*range(13)] for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert [*range(13)] not in orders
