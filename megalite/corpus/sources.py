"""The documents of a recipe's sources."""

from collections.abc import Iterator
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.input_units import Inputs
from megalite.corpus.installed_docs import installed_documents
from megalite.corpus.readers import Document, OnError, ReadReport, expand_inputs, read_documents
from megalite.corpus.recipe import Files, HubDataset, InstalledDocs, Recipe


def check_sources(recipe: Recipe) -> None:
    """Raises: FileNotFoundError, DataError where files are missing or of a kind that is not read."""
    for source in recipe.sources:
        if isinstance(source, Files):
            expand_inputs(source.paths)


def all_documents(recipe: Recipe, report: ReadReport) -> Iterator[Document]:
    """Every document of all sources, one after the other. Raises: as :func:`source_documents`."""
    for number in range(len(recipe.sources)):
        yield from source_documents(recipe, number, None, 0, report)


def source_documents(
    recipe: Recipe, number: int, inputs: Inputs | None, unit: int, report: ReadReport
) -> Iterator[Document]:
    """The documents of one source, encodings repaired where the recipe asks for it.

    Args:
        inputs: its files cut into units, of which only ``unit`` is read; all of them where it is None.

    Raises: DataError at the first malformed place where ``on_error`` is ``fatal``, and where a file has changed.
    """
    source = recipe.sources[number]
    if isinstance(source, InstalledDocs):
        documents = installed_documents(source.max_bytes)
    elif isinstance(source, HubDataset):
        documents = _hub_documents(source, recipe.on_error, report)
    elif inputs is None:
        documents = read_documents(expand_inputs(source.paths), source.text_key, recipe.on_error, report)
    else:
        documents = (document for _, document in inputs.documents(unit, report))
    return map(_repaired, documents) if recipe.repair_encodings else documents


def _repaired(document: Document) -> Document:
    """Mojibake undone (``Ã©`` is ``é``), HTML entities outside of markup too; quotation marks stay as they are."""
    import ftfy

    return document._replace(text=ftfy.fix_text(document.text, uncurl_quotes=False, normalization=None))


def _hub_documents(source: HubDataset, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    for number, row in enumerate(_hub_rows(source), start=1):
        text = row.get(source.text_key)
        if isinstance(text, str):
            yield Document(text, {"source": source.name}, source.name, number)
        else:
            reason = f"no text under '{source.text_key}'; the keys are {', '.join(list(row)[:8])}"
            report.add_malformed(f"{source.name}:{number}", reason, on_error)


def _hub_rows(source: HubDataset) -> Iterator[dict[str, Any]]:
    import datasets

    try:
        stream = datasets.load_dataset(source.name, source.subset, split=source.split, streaming=True)
        yield from stream if source.max_documents is None else stream.take(source.max_documents)
    except Exception as error:  # the hub's client raises its own kinds for no network, no such name, no access
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"dataset '{source.name}': cannot be read: {reason}") from None
