"""Datasets from the Hugging Face hub, read as a stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.sources.sections import HubDataset
from megalite.files.readers.documents import Document
from megalite.files.readers.malformed import Malformed, OnError, ReadReport


def dataset_parts(source: HubDataset) -> tuple[int, int]:
    """Returns the number of parts that a dataset can be read in, one per file, and its bytes, 0 if unknown.

    A dataset with ``max_documents`` has one part. Raises: DataError.
    """
    stream = _hub_stream(source)
    size = stream.info.dataset_size or 0
    return (1, 0) if source.max_documents is not None else (stream.num_shards, size)


def hub_documents(
    source: HubDataset, part: int, parts: int, on_error: OnError, report: ReadReport
) -> Iterator[Document]:
    name = source.name if parts == 1 else f"{source.name}[{part}/{parts}]"
    for number, row in enumerate(_hub_rows(source, part, parts), start=1):
        text = row.get(source.text_key)
        if isinstance(text, str):
            yield Document(text, {"source": source.name}, name, number)
        else:
            reason = f"no text under '{source.text_key}'; the keys are {', '.join(list(row)[:8])}"
            report.add_malformed(Malformed(name, number, reason), on_error)


def _hub_rows(source: HubDataset, part: int, parts: int) -> Iterator[dict[str, Any]]:
    stream = _hub_stream(source)
    with _data_errors(source):
        yield from stream.shard(parts, part) if source.max_documents is None else stream.take(source.max_documents)


def _hub_stream(source: HubDataset) -> Any:
    import datasets

    with _data_errors(source):
        return datasets.load_dataset(source.name, source.subset, split=source.split, streaming=True)


@contextmanager
def _data_errors(source: HubDataset) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the client has its own exceptions for no network, no such name and no access
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"dataset '{source.name}': cannot be read: {reason}") from None
