"""Everything that decides the bytes of a corpus; the number of workers and machines does not."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from megalite.config.section import Section
from megalite.corpus.decontaminate.eval_items import find_eval_files
from megalite.corpus.filters.classifier import ClassifierFilter
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.sources.hub import dataset_parts, hub_documents
from megalite.corpus.sources.installed_docs import installed_documents
from megalite.corpus.sources.sections import Files, HubDataset, InstalledDocs
from megalite.files.place import absolute
from megalite.files.readers.documents import Document
from megalite.files.readers.input_units import InputFile, Inputs, find_inputs, input_file
from megalite.files.readers.malformed import ReadReport

SMALLEST_UNIT, LARGEST_UNIT = 2 << 20, 64 << 20
UNITS_WANTED, MOST_UNITS = 64, 4096
"""A small corpus is cut into enough units for some workers, a huge one into at most so many."""
BUCKET_BYTES = 64 << 20
PARTITION_BYTES = 4 << 30
MOST_PARTS = 256
"""Limit for buckets of the shuffle and partitions of the digests."""
SOURCE_BYTES = 32 << 20
"""Assumed size when unknown, of a source or a part of one."""


class CorpusPlan(Section):
    """The content of ``plan.json`` in the work folder."""

    recipe: Recipe
    output: str
    inputs: tuple[Inputs | None, ...]
    """For each source; None if it is not files."""
    parts: tuple[int, ...]
    """For each source; more than 1 for a dataset of several files."""
    eval_sets: tuple[InputFile, ...]
    classifiers: tuple[InputFile, ...]
    buckets: int
    """Number of parts of the shuffled order."""
    partitions: int
    """Number of parts of the digests of all documents."""

    @cached_property
    def units(self) -> list[tuple[int, int]]:
        """``(source, unit of this source)`` of every unit, in the order of the recipe."""
        return [
            (source, unit)
            for source, inputs in enumerate(self.inputs)
            for unit in range(len(inputs.units) if inputs is not None else self.parts[source])
        ]

    def documents(self, unit: int, report: ReadReport) -> Iterator[Document]:
        """Every document of a unit. Raises: DataError if a source is damaged or has changed."""
        number, inner = self.units[unit]
        source, inputs = self.recipe.sources[number], self.inputs[number]
        if inputs is not None:
            documents: Iterator[Document] = (document for _, document in inputs.documents(inner, report))
        elif isinstance(source, HubDataset):
            documents = hub_documents(source, inner, self.parts[number], self.recipe.on_error, report)
        else:
            assert isinstance(source, InstalledDocs), "files have inputs"
            documents = installed_documents(source.max_bytes)
        return map(_repaired, documents) if self.recipe.repair_encodings else documents

    def refuse_changed(self) -> None:
        """Raises: DataError if an evaluation set or a classifier is not what it was when the run began."""
        for file in self.eval_sets + self.classifiers:
            file.refuse_changed()


def make_plan(recipe: Recipe, output: Path) -> CorpusPlan:
    """Look at all sources and cut them into units. Raises: FileNotFoundError, DataError."""
    inputs = [
        find_inputs(source.paths, source.text_key, recipe.on_error, _unit_bytes) if isinstance(source, Files) else None
        for source in recipe.sources
    ]
    classifiers = [Path(item.model) for item in recipe.filters if isinstance(item, ClassifierFilter)]
    eval_sets = find_eval_files(recipe.decontaminate.against) if recipe.decontaminate is not None else []
    parts = [dataset_parts(source) if isinstance(source, HubDataset) else (1, 0) for source in recipe.sources]
    found = zip(recipe.sources, inputs, parts, strict=True)
    total = sum(_bytes(source, files, *cut) for source, files, cut in found)
    return CorpusPlan(
        recipe=recipe.text,
        output=str(absolute(output)),
        inputs=tuple(inputs),
        parts=tuple(min(MOST_UNITS, count) for count, _ in parts),
        eval_sets=tuple(map(input_file, eval_sets)),
        classifiers=tuple(map(input_file, classifiers)),
        buckets=min(MOST_PARTS, max(1, total // BUCKET_BYTES)),
        partitions=min(MOST_PARTS, max(1, total // PARTITION_BYTES)),
    )


def _unit_bytes(total: int) -> int:
    return max(min(LARGEST_UNIT, max(SMALLEST_UNIT, total // UNITS_WANTED)), total // MOST_UNITS)


def _bytes(source: object, inputs: Inputs | None, parts: int, told: int) -> int:
    if inputs is not None:
        return sum(file.bytes for file in inputs.files)
    return told or (source.max_bytes if isinstance(source, InstalledDocs) else None) or parts * SOURCE_BYTES


def _repaired(document: Document) -> Document:
    """Undoes mojibake (``Ã©`` is ``é``) and, outside of markup, HTML entities; quotation marks stay."""
    import ftfy

    return document._replace(text=ftfy.fix_text(document.text, uncurl_quotes=False, normalization=None))
