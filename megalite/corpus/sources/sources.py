"""The documents of a recipe's sources."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.decontaminate.eval_items import find_eval_files
from megalite.corpus.filters.by_classifier import ClassifierFilter
from megalite.corpus.prepare.recipe import Files, HubDataset, InstalledDocs, Recipe
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.files.readers.documents import Document, read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.input_units import Inputs
from megalite.files.readers.malformed import Malformed, OnError, ReadReport


def files_read(recipe: Recipe) -> list[Path]:
    """Every file and folder that a recipe names as something to read. Raises: FileNotFoundError, DataError."""
    read: list[Path] = []
    for source in recipe.sources:
        if isinstance(source, Files):
            read += expand_inputs(source.paths)
        elif isinstance(source, HubDataset):
            read.append(Path(source.name))  # may be a folder
    read += [Path(item.model) for item in recipe.filters if isinstance(item, ClassifierFilter)]
    if recipe.dedup is not None:
        read += map(Path, recipe.dedup.against)
    if recipe.decontaminate is not None:
        read += find_eval_files(recipe.decontaminate.against)
    if recipe.tokenize is not None and recipe.tokenize.tokenizer is not None:
        read.append(Path(recipe.tokenize.tokenizer))
    return read


def dataset_parts(source: HubDataset) -> tuple[int, int]:
    """Into how many parts a dataset can be cut, its files, and its bytes; 0 where nobody says how many.

    One part where only the beginning is wanted. Raises: DataError.
    """
    stream = _hub_stream(source)
    size = stream.info.dataset_size or 0
    return (1, 0) if source.max_documents is not None else (stream.num_shards, size)


def source_documents(
    recipe: Recipe, number: int, inputs: Inputs | None, unit: int, report: ReadReport, parts: int = 1
) -> Iterator[Document]:
    """The documents of one source, encodings repaired where the recipe asks for it.

    Args:
        inputs: its files cut into units, of which only ``unit`` is read; all of them where it is None.
        parts: a dataset is cut into so many, of which only the one with the number ``unit`` is read.

    Raises: DataError at the first malformed place where ``on_error`` is ``fatal``, and where a file has changed.
    """
    source = recipe.sources[number]
    if isinstance(source, InstalledDocs):
        documents = installed_documents(source.max_bytes)
    elif isinstance(source, HubDataset):
        documents = _hub_documents(source, unit, parts, recipe.on_error, report)
    elif inputs is None:
        documents = read_documents(expand_inputs(source.paths), source.text_key, recipe.on_error, report)
    else:
        documents = (document for _, document in inputs.documents(unit, report))
    return map(_repaired, documents) if recipe.repair_encodings else documents


def _repaired(document: Document) -> Document:
    """Mojibake undone (``Ã©`` is ``é``), HTML entities outside of markup too; quotation marks stay as they are."""
    import ftfy

    return document._replace(text=ftfy.fix_text(document.text, uncurl_quotes=False, normalization=None))


def _hub_documents(
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
    with _told(source):
        yield from stream.shard(parts, part) if source.max_documents is None else stream.take(source.max_documents)


def _hub_stream(source: HubDataset) -> Any:
    import datasets

    with _told(source):
        return datasets.load_dataset(source.name, source.subset, split=source.split, streaming=True)


@contextmanager
def _told(source: HubDataset) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub's client raises its own kinds for no network, no such name, no access
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"dataset '{source.name}': cannot be read: {reason}") from None
