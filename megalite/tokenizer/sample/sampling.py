"""A sample in the proportions of the mix: so many bytes of each source, chosen evenly over all its documents.

Two passes over the corpus, in constant memory. A document's place (source, file number, line) is hashed into one of 2**20
bins; the first pass counts bytes by bin, the second takes the documents of the first bins until the source's share is
full, and those of the next bins as held-out text for the report. So the choice does not depend on the order of the
documents, is the same at every run, and an unshuffled corpus is as well represented as a shuffled one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from megalite.config.errors import ConfigError, DataError
from megalite.files.readers.documents import read_documents
from megalite.files.readers.malformed import Malformed, ReadReport, refuse_malformed
from megalite.tokenizer.sample.mix import Source

BINS = 1 << 20
MOST = 1 << 40
"""Bytes or characters; no sample is so large."""
HELD_OUT = 20
"""Of the sample's bytes, one in so many is taken besides, for the report."""


@dataclass(frozen=True)
class Sampling:
    """How much text is looked at."""

    sample_bytes: int = 1_000_000_000
    """Of all sources together, at most."""
    document_characters: int = 100_000
    """A longer document is cut, so that a single huge file does not shape the vocabulary."""
    text_key: str = "text"
    max_malformed: float | None = None
    """So much of the input may be malformed, see ``refuse_malformed``."""

    def check(self) -> None:
        """Raises: ConfigError where there would be nothing."""
        if self.sample_bytes < 1 or self.document_characters < 1:
            raise ConfigError(
                f"--sample_bytes {self.sample_bytes}, --document_characters {self.document_characters}: give at least 1"
            )
        if max(self.sample_bytes, self.document_characters) > MOST:
            raise ConfigError(f"--sample_bytes, --document_characters: give at most {MOST:,}")


@dataclass
class SourceBook:
    """What was found in a source, and what was taken."""

    name: str
    weight: float
    """Asked share of the sample's bytes, 0 to 1."""
    read_documents: int = 0
    """Those without text included."""
    found_documents: int = 0
    found_bytes: int = 0
    """UTF-8, after the cut of long documents."""
    cut_documents: int = 0
    documents: int = 0
    bytes: int = 0
    held_out_documents: int = 0
    malformed: int = 0
    malformed_examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """The text chosen, in files of one JSON object a line: ``text``, ``source``, ``lang``."""

    training: Path
    report: Path
    """Held-out documents; of a source that is used whole, some of those trained on."""
    books: list[SourceBook]


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of one of a sample's files."""
    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def read_texts(path: Path) -> Iterator[str]:
    """Their texts."""
    return (record["text"] for record in read_records(path))


def take_sample(sources: Sequence[Source], sampling: Sampling, folder: Path, console: Console) -> Sample:
    """Write the sample into ``folder``.

    Raises: DataError where there is no text at all.
    """
    sample = Sample(folder / "training.jsonl", folder / "report.jsonl", [])
    total = sum(source.weight for source in sources)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        sample.training.open("wb") as training,
        sample.report.open("wb") as report,
    ):
        task = progress.add_task("sample")
        for number, source in enumerate(sources):
            progress.update(task, description=f"sample: {source.name}")
            book = SourceBook(source.name, source.weight / total)
            share = int(sampling.sample_bytes * book.weight) or 1
            _take(number, source, share, sampling, book, training, report)
            sample.books.append(book)
    if not sum(book.bytes for book in sample.books):
        malformed = [example for book in sample.books for example in book.malformed_examples]
        reason = f" ({malformed[0]})" if malformed else ""
        raise DataError(
            f"{sources[0].paths[0]}: no text in it or in the other inputs{reason}; check --input and --text_key"
        )
    malformed, found = (sum(getattr(book, name) for book in sample.books) for name in ("malformed", "read_documents"))
    examples = [example for book in sample.books for example in book.malformed_examples]
    refuse_malformed(found, malformed, examples, sampling.max_malformed)
    return sample


def _take(
    number: int,
    source: Source,
    share: int,
    sampling: Sampling,
    book: SourceBook,
    training: IO[bytes],
    report: IO[bytes],
) -> None:
    bytes_in_bin = [0] * BINS
    for _, place, _, size in _documents(number, source, sampling, book):
        bytes_in_bin[place] += size
        book.found_bytes += size
    last, held_out = _bins(bytes_in_bin, share, book.found_bytes)
    for text, place, meta, size in _documents(number, source, sampling, None):
        trains = place < last or (place == last and book.bytes < share)
        if trains or place in held_out:
            language = meta.get("lang")
            record = {"text": text, "source": str(meta.get("source", source.name))}
            line = orjson.dumps(record | {"lang": language if isinstance(language, str) else None}) + b"\n"
            if trains:
                training.write(line)
                book.documents += 1
                book.bytes += size
            if place in held_out:
                report.write(line)
                book.held_out_documents += not trains


def _bins(bytes_in_bin: list[int], share: int, found: int) -> tuple[int, range]:
    """The bin in which the share is full, and the bins of the report: after it where there is text left, else the first."""
    last = _full_at(bytes_in_bin, 0, share)
    wanted = max(1, share // HELD_OUT)
    if found >= share + wanted and last + 1 < BINS and any(bytes_in_bin[last + 1 :]):
        return last, range(last + 1, _full_at(bytes_in_bin, last + 1, wanted) + 1)
    return last, range(_full_at(bytes_in_bin, 0, wanted) + 1)


def _full_at(bytes_in_bin: list[int], start: int, wanted: int) -> int:
    total = 0
    for place in range(start, BINS):
        total += bytes_in_bin[place]
        if total >= wanted:
            return place
    return BINS - 1


def _documents(
    number: int, source: Source, sampling: Sampling, book: SourceBook | None
) -> Iterator[tuple[str, int, dict[str, Any], int]]:
    """``(text, bin, meta, bytes)`` of each document that is not empty; what is odd is counted in ``book``."""
    for index, path in enumerate(source.paths):
        seen = ReadReport()
        for document in read_documents([path], sampling.text_key, report=seen):
            text = document.text[: sampling.document_characters]
            if not text:
                continue
            try:
                size = len(text.encode())
            except UnicodeEncodeError:
                reason = "a lone surrogate, which is not text"
                seen.add_malformed(Malformed(document.path, document.line, reason), "skip")
                continue
            if book is not None:
                book.found_documents += 1
                book.cut_documents += len(document.text) > len(text)
            yield text, _bin_of(number, index, document.line), document.meta, size
        if book is not None:
            book.read_documents += seen.documents
            book.malformed += seen.malformed
            book.malformed_examples += seen.examples[: 5 - len(book.malformed_examples)]


def _bin_of(source: int, file: int, line: int) -> int:
    digest = hashlib.blake2b(b"%d:%d:%d" % (source, file, line), digest_size=4).digest()
    return int.from_bytes(digest, "little") % BINS


def print_sample(sample: Sample, sampling: Sampling, console: Console) -> None:
    """The shares asked for and got, as a table, and a line for each thing that is not as asked."""
    total = sum(book.bytes for book in sample.books)
    table = Table("source", "documents", "MB", "share", "asked", "of", title="sample", title_justify="left")
    for book in sample.books:
        table.add_row(
            book.name,
            f"{book.documents:,}",
            f"{book.bytes / 1e6:.2f}",
            f"{book.bytes / total:.1%}",
            f"{book.weight:.1%}",
            f"{book.found_documents:,} documents, {book.found_bytes / 1e6:.2f} MB",
        )
    console.print(table)
    for book in sample.books:
        if len(sample.books) > 1 and book.bytes == book.found_bytes < int(sampling.sample_bytes * book.weight):
            asked = sampling.sample_bytes * book.weight / 1e6
            console.print(f"{book.name}: has only {book.bytes / 1e6:.2f} of {asked:.2f} MB; it is used whole, and once")
        if book.cut_documents:
            console.print(
                f"{book.name}: {book.cut_documents:,} documents cut at {sampling.document_characters:,} characters"
            )
        if book.malformed:
            console.print(
                f"{book.name}: {book.malformed:,} malformed, passed over: {'; '.join(book.malformed_examples)}"
            )
