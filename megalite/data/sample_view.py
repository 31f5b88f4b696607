"""Samples taken apart again: which documents they are made of, as text, and where those came from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from megalite.data.blend import BlendedDataset
from megalite.data.gpt_dataset import GPTDataset
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import manifest_path
from megalite.data.trace import Origin, trace_documents
from megalite.tokenizer.load import LoadedTokenizer


@dataclass(frozen=True)
class Part:
    """Tokens of one document that stand together."""

    document: int
    first: int
    """Of its tokens, counted from 0."""
    of: int
    """Tokens in the whole document."""
    ids: list[int] = field(repr=False)
    text: str | None
    """With special tokens visible; None without a tokenizer."""
    origin: Origin | None = None
    """None where it was not asked for or the dataset has no manifest."""


@dataclass(frozen=True)
class SampleView:
    """A sample, or a whole document."""

    prefix: str
    parts: tuple[Part, ...]
    sample: int | None = None
    """Global number in the run, or in the dataset; None for a document."""
    own_sample: int | None = None
    """Number within the source."""
    epoch: int | None = None
    """Of the source, from 0."""

    def to_json(self) -> dict[str, Any]:
        """All of it; an origin without the text, which is the document's."""
        values = asdict(self)
        for part in values["parts"]:
            if part["origin"] is not None:
                del part["origin"]["text"]
        return values


def view_document(dataset: IndexedDataset, number: int, tokenizer: LoadedTokenizer | None) -> SampleView:
    """One whole document."""
    start, end = dataset.document_range(number)
    if start == end:
        return SampleView(dataset.prefix, (Part(number, 0, 0, [], None if tokenizer is None else ""),))
    return SampleView(dataset.prefix, _parts(dataset, start, end - start, tokenizer))


def view_sample(dataset: GPTDataset, sample: int, tokenizer: LoadedTokenizer | None) -> SampleView:
    """Sample ``sample`` of a dataset with its S+1 tokens, the last of which is only a label."""
    stretches = dataset.stretches(dataset.window_number(sample), dataset.sequence_length + 1)
    parts = [part for at, count in stretches for part in _parts(dataset.source, at, count, tokenizer)]
    epoch = sample * dataset.sequence_length // dataset.tokens
    return SampleView(dataset.source.prefix, tuple(parts), sample, sample, epoch)


def view_run_sample(dataset: BlendedDataset, sample: int, tokenizer: LoadedTokenizer | None) -> SampleView:
    """Sample ``sample`` of a run."""
    source, own_sample = dataset.order.locate(sample)
    return replace(view_sample(dataset.datasets[source], own_sample, tokenizer), sample=sample)


def traced(
    views: Sequence[SampleView], datasets: Sequence[IndexedDataset], tokenizer: LoadedTokenizer | None
) -> list[SampleView]:
    """The same with the origin of every document; datasets without a manifest, which others made, are left as they are.

    Raises: FileNotFoundError or DataError where a source is gone or has changed.
    """
    origins: dict[str, dict[int, Origin]] = {}
    for dataset in datasets:
        numbers = {part.document for view in views if view.prefix == dataset.prefix for part in view.parts}
        if numbers and manifest_path(dataset.prefix).exists():
            origins[dataset.prefix] = trace_documents(dataset, numbers, tokenizer)
    return [
        replace(
            view,
            parts=tuple(replace(part, origin=origins.get(view.prefix, {}).get(part.document)) for part in view.parts),
        )
        for view in views
    ]


def _parts(dataset: IndexedDataset, start: int, count: int, tokenizer: LoadedTokenizer | None) -> tuple[Part, ...]:
    found = []
    for number, first, taken in dataset.parts(start, count):
        ids = dataset.read(start, taken).tolist()
        begin, end = dataset.document_range(number)
        text = None if tokenizer is None else tokenizer.tokenizer.decode(ids, skip_special_tokens=False)
        found.append(Part(number, first, end - begin, ids, text))
        start += taken
    return tuple(found)
