"""Writes one unit of a stage: the documents that stay, a line for each document that does not, and the ledger."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from megalite.corpus.ledger.labels import language_of, source_of
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.units.kept_shards import KeptShards, json_line
from megalite.corpus.units.written_units import record_unit
from megalite.files.readers.documents import Document
from megalite.files.readers.malformed import ReadReport
from megalite.files.whole_file import whole_file


class UnitWriter:
    """``kept-NUMBER-*.jsonl.zst`` and ``LISTING-NUMBER.jsonl`` of a unit."""

    def __init__(self, folder: Path, number: int, stage: str, listing: str) -> None:
        self._folder, self._number = folder, number
        self._listing = f"{listing}-{number:05d}.jsonl"
        self._ledger, self._shards = Ledger(stage=stage), KeptShards(folder, number)

    def __enter__(self) -> "UnitWriter":
        with ExitStack() as stack:
            self._dropped = stack.enter_context(whole_file(self._folder / self._listing))
            stack.enter_context(self._shards)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def keep(self, document: Document) -> None:
        """Write a document that stays."""
        self._ledger.read += 1
        self._ledger.keep(source_of(document), document.text, language=language_of(document))
        self._shards.write(document)

    def drop(
        self, document: Document, rule: str, entry: dict[str, Any], excerpt: str | None = None, **more: Any
    ) -> None:
        """Write ``entry`` for a document that does not stay.

        Args:
            rule: the reason in the ledger.
            excerpt: shown in the ledger instead of the text.
            more: shown beside it.
        """
        self._ledger.read += 1
        place, text = f"{document.path}:{document.line}", document.text if excerpt is None else excerpt
        self._ledger.drop(rule, source_of(document), place, text, language=language_of(document), **more)
        self._dropped.write(json_line(entry))

    def record(self, report: ReadReport, more_files: list[str]) -> None:
        """Record the unit as written, after the ``with`` block."""
        self._ledger.malformed, self._ledger.malformed_examples = report.malformed, report.examples
        record_unit(self._folder, self._number, self._listing, self._shards.names + more_files, self._ledger)
