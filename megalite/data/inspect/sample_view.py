"""Samples split into the documents they are made of, with text and origin."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from megalite.data.indexed import IndexedDataset
from megalite.data.inspect.trace import Origin, UntraceableError, trace_documents
from megalite.data.manifest import manifest_path
from megalite.data.samples.blend import BlendedDataset
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.tokenizer.load import LoadedTokenizer


@dataclass(frozen=True)
class Part:
    """Consecutive tokens of one document."""

    document: int
    first: int
    """The first of these tokens, counted from 0 in the document."""
    of: int
    """Number of tokens in the whole document."""
    ids: list[int] = field(repr=False)
    text: str | None
    """The text, with special tokens; None without a tokenizer."""
    origin: Origin | None = None
    """None if it was not requested or is unknown."""
    untraced: str | None = None
    """Why the origin is unknown."""


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
    """The epoch of the source, counted from 0."""

    def to_json(self) -> dict[str, Any]:
        """The fields for JSON output; the origin without its text."""
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
    """The same samples with the origin of every document, or the reason why it is unknown.

    Datasets without a manifest are returned unchanged.

    Raises: DataError if the manifest does not fit, or the dataset was made with another tokenizer.
    """
    found: dict[str, dict[int, Origin | str]] = {}
    for dataset in datasets:
        numbers = {part.document for view in views if view.prefix == dataset.prefix for part in view.parts}
        found[dataset.prefix] = _origins(dataset, sorted(numbers), tokenizer)
    return [
        replace(view, parts=tuple(_with_origin(part, found[view.prefix].get(part.document)) for part in view.parts))
        for view in views
    ]


def _origins(
    dataset: IndexedDataset, numbers: Sequence[int], tokenizer: LoadedTokenizer | None
) -> dict[int, Origin | str]:
    if not manifest_path(dataset.prefix).exists():
        return {}
    try:
        return {**trace_documents(dataset, numbers, tokenizer)}
    except UntraceableError as error:
        if len(numbers) == 1:
            return {numbers[0]: str(error)}
    origins: dict[int, Origin | str] = {}
    for number in numbers:  # the sources of the others may exist
        origins |= _origins(dataset, [number], tokenizer)
    return origins


def _with_origin(part: Part, found: Origin | str | None) -> Part:
    return replace(part, untraced=found) if isinstance(found, str) else replace(part, origin=found)


def _parts(dataset: IndexedDataset, start: int, count: int, tokenizer: LoadedTokenizer | None) -> tuple[Part, ...]:
    found = []
    for number, first, taken in dataset.parts(start, count):
        ids = dataset.read(start, taken).tolist()
        begin, end = dataset.document_range(number)
        text = None if tokenizer is None else tokenizer.tokenizer.decode(ids, skip_special_tokens=False)
        found.append(Part(number, first, end - begin, ids, text))
        start += taken
    return tuple(found)
