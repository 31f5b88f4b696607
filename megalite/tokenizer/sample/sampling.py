"""Draw a sample in the proportions of the mix: a number of bytes from each source, spread evenly over its documents.

Sampling makes two passes in constant memory. A document's place (source, file number, line) is hashed into one of 2**20
bins. The first pass counts the bytes in each bin. The second takes the documents of the first bins until the source's share
is full, and those of the next bins as held-out text for the report. The sample is therefore reproducible, and an unshuffled
corpus is represented as well as a shuffled one.
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
"""Upper limit for bytes and characters."""
HELD_OUT = 20
"""The held-out text is one in this many of the sample's bytes."""


@dataclass(frozen=True)
class Sampling:
    """Size of the sample, and how documents are read."""

    sample_bytes: int = 1_000_000_000
    """Maximum over all sources together."""
    document_characters: int = 100_000
    """Longer documents are cut, so that one huge document does not shape the vocabulary."""
    text_key: str = "text"
    max_malformed: float | None = None
    """See ``refuse_malformed``."""

    def check(self) -> None:
        """Raises: ConfigError if a limit is out of range."""
        if self.sample_bytes < 1 or self.document_characters < 1:
            raise ConfigError(
                f"--sample_bytes {self.sample_bytes}, --document_characters {self.document_characters}: give at least 1"
            )
        if max(self.sample_bytes, self.document_characters) > MOST:
            raise ConfigError(f"--sample_bytes, --document_characters: give at most {MOST:,}")


@dataclass
class SourceCounts:
    """Documents and bytes that a source has, and those in the sample."""

    name: str
    weight: float
    """Requested share of the sample's bytes, 0 to 1."""
    read_documents: int = 0
    """Including documents without text."""
    found_documents: int = 0
    found_bytes: int = 0
    """In UTF-8, after long documents are cut."""
    cut_documents: int = 0
    documents: int = 0
    bytes: int = 0
    held_out_documents: int = 0
    malformed: int = 0
    malformed_examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """The sampled text in jsonl files with ``text``, ``source`` and ``lang``."""

    training: Path
    report: Path
    """Held-out documents; for a source that is used completely, some of the training documents."""
    sources: list[SourceCounts]


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the documents of a sample file."""
    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def read_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a sample file."""
    return (record["text"] for record in read_records(path))


def take_sample(sources: Sequence[Source], sampling: Sampling, folder: Path, console: Console) -> Sample:
    """Write the sample into ``folder``. Raises: DataError if there is no text."""
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
            counts = SourceCounts(source.name, source.weight / total)
            share = int(sampling.sample_bytes * counts.weight) or 1
            _take(number, source, share, sampling, counts, training, report)
            sample.sources.append(counts)
    if not sum(counts.bytes for counts in sample.sources):
        malformed = [example for counts in sample.sources for example in counts.malformed_examples]
        reason = f" ({malformed[0]})" if malformed else ""
        raise DataError(
            f"{sources[0].paths[0]}: neither this nor another input has text{reason}; check --input and --text_key"
        )
    malformed, found = (
        sum(getattr(counts, name) for counts in sample.sources) for name in ("malformed", "read_documents")
    )
    examples = [example for counts in sample.sources for example in counts.malformed_examples]
    refuse_malformed(found, malformed, examples, sampling.max_malformed)
    return sample


def _take(
    number: int,
    source: Source,
    share: int,
    sampling: Sampling,
    counts: SourceCounts,
    training: IO[bytes],
    report: IO[bytes],
) -> None:
    bytes_in_bin = [0] * BINS
    for _, place, _, size in _documents(number, source, sampling, counts):
        bytes_in_bin[place] += size
        counts.found_bytes += size
    last, held_out = _bins(bytes_in_bin, share, counts.found_bytes)
    for text, place, meta, size in _documents(number, source, sampling, None):
        trains = place < last or (place == last and counts.bytes < share)
        if trains or place in held_out:
            language = meta.get("lang")
            record = {"text": text, "source": str(meta.get("source", source.name))}
            line = orjson.dumps(record | {"lang": language if isinstance(language, str) else None}) + b"\n"
            if trains:
                training.write(line)
                counts.documents += 1
                counts.bytes += size
            if place in held_out:
                report.write(line)
                counts.held_out_documents += not trains


def _bins(bytes_in_bin: list[int], share: int, found: int) -> tuple[int, range]:
    """The bin in which the share is full, and the bins of the held-out text: the next ones, or the first if none is left."""
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
    number: int, source: Source, sampling: Sampling, counts: SourceCounts | None
) -> Iterator[tuple[str, int, dict[str, Any], int]]:
    """Yield ``(text, bin, meta, bytes)`` of each document that is not empty, and add to ``counts``."""
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
            if counts is not None:
                counts.found_documents += 1
                counts.cut_documents += len(document.text) > len(text)
            yield text, _bin_of(number, index, document.line), document.meta, size
        if counts is not None:
            counts.read_documents += seen.documents
            counts.malformed += seen.malformed
            counts.malformed_examples += seen.examples[: 5 - len(counts.malformed_examples)]


def _bin_of(source: int, file: int, line: int) -> int:
    digest = hashlib.blake2b(b"%d:%d:%d" % (source, file, line), digest_size=4).digest()
    return int.from_bytes(digest, "little") % BINS


def print_sample(sample: Sample, sampling: Sampling, console: Console) -> None:
    """Print requested and actual shares as a table, and a line for every deviation."""
    total = sum(counts.bytes for counts in sample.sources)
    table = Table("source", "documents", "MB", "share", "requested", "from", title="sample", title_justify="left")
    for counts in sample.sources:
        table.add_row(
            counts.name,
            f"{counts.documents:,}",
            f"{counts.bytes / 1e6:.2f}",
            f"{counts.bytes / total:.1%}",
            f"{counts.weight:.1%}",
            f"{counts.found_documents:,} documents, {counts.found_bytes / 1e6:.2f} MB",
        )
    console.print(table)
    for counts in sample.sources:
        if len(sample.sources) > 1 and counts.bytes == counts.found_bytes < int(sampling.sample_bytes * counts.weight):
            requested = sampling.sample_bytes * counts.weight / 1e6
            console.print(
                f"{counts.name}: has only {counts.bytes / 1e6:.2f} of the requested {requested:.2f} MB; it is used once"
            )
        if counts.cut_documents:
            console.print(
                f"{counts.name}: {counts.cut_documents:,} documents cut at {sampling.document_characters:,} characters"
            )
        if counts.malformed:
            console.print(
                f"{counts.name}: {counts.malformed:,} malformed documents skipped: {'; '.join(counts.malformed_examples)}"
            )
