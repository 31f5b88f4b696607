"""The documents of a recipe's sources, one after the other."""

from collections.abc import Iterator
from typing import Any

from megalite.config.errors import DataError
from megalite.corpus.installed_docs import installed_documents
from megalite.corpus.readers import Document, OnError, ReadReport, expand_inputs, read_documents
from megalite.corpus.recipe import Files, HubDataset, InstalledDocs, Recipe


def check_sources(recipe: Recipe) -> None:
    """Raises: FileNotFoundError, DataError where files are missing or of a kind that is not read."""
    for source in recipe.sources:
        if isinstance(source, Files):
            expand_inputs(source.paths)


def source_documents(recipe: Recipe, report: ReadReport) -> Iterator[Document]:
    """Every document, encodings repaired where the recipe asks for it.

    Raises: DataError at the first malformed place where ``on_error`` is ``fatal``.
    """
    documents = _documents(recipe, report)
    return map(_repaired, documents) if recipe.repair_encodings else documents


def _repaired(document: Document) -> Document:
    """Mojibake undone (``Ã©`` is ``é``), HTML entities outside of markup too; quotation marks stay as they are."""
    import ftfy

    return document._replace(text=ftfy.fix_text(document.text, uncurl_quotes=False, normalization=None))


def _documents(recipe: Recipe, report: ReadReport) -> Iterator[Document]:
    for source in recipe.sources:
        if isinstance(source, InstalledDocs):
            yield from installed_documents(source.max_bytes)
        elif isinstance(source, Files):
            yield from read_documents(expand_inputs(source.paths), source.text_key, recipe.on_error, report)
        else:
            yield from _hub_documents(source, recipe.on_error, report)


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
