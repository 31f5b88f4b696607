"""Documents out of jsonl, parquet, txt, WARC and HTML files, compressed or not; malformed input is counted and located."""

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import orjson

from megalite.config.errors import DataError

OnError = Literal["skip", "fatal"]
LINE_SUFFIXES = (".jsonl", ".json", ".ndjson")
ARCHIVE_SUFFIXES = (".warc", ".wet")
PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
COMPRESSIONS = (".gz", ".zst")
LONGEST_LINE = 1 << 28
"""Bytes; a longer line is malformed, and passed over without being held in memory."""
Kind = Literal["lines", "parquet", "txt", "archive", "page"]
EXAMPLES_KEPT = 5


class Document(NamedTuple):
    """One text and where it stood."""

    text: str
    meta: dict[str, Any]
    path: str
    line: int
    """Line (jsonl), row (parquet) or record (WARC) counted from 1; 1 for a txt or HTML file."""


class Piece(NamedTuple):
    """A part of a file, read by itself. The pieces of a file hold each of its documents once, in order."""

    path: Path
    start: int = 0
    """First byte (jsonl) or row group (parquet); a line belongs to the piece that holds its first byte."""
    end: int | None = None
    """Behind the last byte or row group; None is the end of the file."""
    size: int = 0
    """Bytes of the file that are in the piece, to share out the work by."""
    before: int = 0
    """Lines or rows of the file that stand before the piece; of lines only ``pieces.numbered`` knows."""


@dataclass
class ReadReport:
    """What a reader has seen."""

    documents: int = 0
    malformed: int = 0
    examples: list[str] = field(default_factory=list)
    """The first few malformed places, each with its reason."""
    remedy: str = "mend the line, or skip such lines with --on_error skip"
    """For the error at a malformed place."""

    def add_malformed(self, place: str, reason: str, on_error: OnError) -> None:
        """Count and locate. Raises: DataError where ``on_error`` is ``fatal``."""
        if on_error == "fatal":
            raise DataError(f"{place}: {reason}; {self.remedy}")
        self.malformed += 1
        if len(self.examples) < EXAMPLES_KEPT:
            self.examples.append(f"{place}: {reason}")

    def merge(self, other: "ReadReport") -> None:
        """Add another reader's counts."""
        self.documents += other.documents
        self.malformed += other.malformed
        self.examples = (self.examples + other.examples)[:EXAMPLES_KEPT]


def expand_inputs(patterns: Sequence[str]) -> list[Path]:
    """The files that globs and plain paths name, in sorted order, each once.

    Raises: FileNotFoundError where a pattern matches nothing; DataError where a file's kind is not read.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = sorted(path for path in map(Path, glob(pattern, recursive=True)) if path.is_file())  # noqa: PTH207
        if Path(pattern).is_file():  # a plain path may hold a [ or a *
            matches = [Path(pattern)]
        if Path(pattern).is_dir():
            raise DataError(f"{pattern}: is a folder; name its files, for example '{pattern.rstrip('/')}/*.jsonl'")
        if not matches:
            raise FileNotFoundError(f"{pattern}: no file matches; check the path, and quote a pattern with * in it")
        found.update(dict.fromkeys(matches))
    for path in found:
        kind_of(path)
    return list(found)


def kind_of(path: Path) -> Kind:
    """How a file is read, by its suffix before ``.gz`` / ``.zst``. Raises: DataError for any other suffix."""
    inner = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    if inner.suffix in LINE_SUFFIXES:
        return "lines"
    if inner.suffix == ".txt":
        return "txt"
    if path.suffix == ".parquet":
        return "parquet"
    if inner.suffix in ARCHIVE_SUFFIXES:
        return "archive"
    if inner.suffix in PAGE_SUFFIXES:
        return "page"
    raise DataError(f"{path}: unknown kind of file; read are .jsonl, .txt, .warc, .html (also .gz, .zst) and .parquet")


def read_documents(
    paths: Sequence[Path],
    text_key: str = "text",
    on_error: OnError = "skip",
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """Every document of the files, in order, in bounded memory. A txt or HTML file is one document.

    Raises: DataError at the first malformed place where ``on_error`` is ``fatal``.
    """
    report = report if report is not None else ReadReport()
    for path in paths:
        yield from read_piece(Piece(path), text_key, on_error, report)


def read_piece(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    """Every document of a piece, in order; ``read_documents`` tells the rest."""
    readers: dict[Kind, Callable[..., Iterator[Document]]] = {
        "lines": _lines,
        "parquet": _parquet,
        "txt": _txt,
        "archive": _archive,
        "page": _page,
    }
    for document in readers[kind_of(piece.path)](piece, text_key, on_error, report):
        report.documents += 1
        yield document


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed by suffix."""
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    if path.suffix == ".zst":
        from megalite.files.zstd_file import ZstdFile

        return io.BufferedReader(ZstdFile(path), 1 << 20)
    return path.open("rb", 1 << 20)


def parse_line(line: bytes, text_key: str) -> tuple[dict[str, Any], str] | str:
    """``(record, text)`` of one JSON line, or the reason why it is malformed."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    if not isinstance(record, dict):
        return f"a JSON {type(record).__name__}, not an object"
    if text_key not in record:
        return f"no key '{text_key}'; the keys are {', '.join(list(record)[:8]) or 'none'}"
    text = record[text_key]
    return (record, text) if isinstance(text, str) else f"'{text_key}' holds {type(text).__name__}, not a string"


def _lines(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    path, number = piece.path, piece.before
    with closing(open_bytes(path)) as file:
        try:
            for number, line in enumerate(bounded_lines(file, piece.start, piece.end), start=piece.before + 1):
                if line is None:
                    report.add_malformed(f"{path}:{number}", f"a line of more than {LONGEST_LINE:,} bytes", on_error)
                    continue
                if line.isspace():
                    continue
                parsed = parse_line(line, text_key)
                if isinstance(parsed, str):
                    report.add_malformed(f"{path}:{number}", parsed, on_error)
                    continue
                record, text = parsed
                yield Document(text, _meta(record, text_key), str(path), number)
        except decompression_errors() as error:
            report.add_malformed(f"{path}:{number + 1}", f"damaged from here on: {error}", on_error)


def bounded_lines(file: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[bytes | None]:
    """The lines that begin from byte ``start`` on and before ``end``; None in place of one that is too long."""
    position = 0
    if start > 0:
        file.seek(start - 1)
        _pass_line(file)  # the rest of a line that began before, or only its end
        position = file.tell()
    while (end is None or position < end) and (line := file.readline(LONGEST_LINE)):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            position += len(line)
            yield line
        else:
            _pass_line(file)
            position = file.tell()
            yield None


def _pass_line(file: IO[bytes]) -> None:
    while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
        pass


def decompression_errors() -> tuple[type[Exception], ...]:
    """What a truncated or damaged compressed file raises."""
    import zlib

    import zstandard

    return (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


def _parquet(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    for number, record in parquet_records(piece, (text_key,), on_error, report):
        yield Document(record[text_key], _meta(record, text_key), str(piece.path), number)


def parquet_records(
    piece: Piece, keys: Sequence[str], on_error: OnError, report: ReadReport, columns: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(row, record)`` of the rows with a string under every key, rows counted from 1.

    Args:
        columns: the only ones to read; all where None.

    Raises: DataError where a key is no column.
    """
    import pyarrow
    from pyarrow import parquet

    path = piece.path
    try:
        file = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        report.add_malformed(f"{path}:1", f"not a parquet file: {' '.join(str(error).split())}", on_error)
        return
    with file:
        if missing := [key for key in keys if key not in file.schema_arrow.names]:
            raise DataError(f"{path}: no column '{missing[0]}'; the columns are {', '.join(file.schema_arrow.names)}")
        group_start = piece.before
        for group in range(piece.start, file.num_row_groups if piece.end is None else piece.end):
            number = group_start
            group_start += file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(batch_size=128, row_groups=[group], columns=columns, use_threads=False):
                    for record in _records(batch):
                        number += 1
                        if isinstance(record, str):
                            report.add_malformed(f"{path}:{number}", record, on_error)
                        elif wrong := [key for key in keys if not isinstance(record[key], str)]:
                            reason = f"'{wrong[0]}' holds {type(record[wrong[0]]).__name__}, not a string"
                            report.add_malformed(f"{path}:{number}", reason, on_error)
                        else:
                            yield number, record
            except (pyarrow.ArrowException, OSError) as error:
                reason = f"damaged from here to row {group_start}: {' '.join(str(error).split())}"
                report.add_malformed(f"{path}:{number + 1}", reason, on_error)


def _records(batch: Any) -> list[dict[str, Any] | str]:
    """The rows of an Arrow batch; a reason in place of a row whose bytes are not UTF-8."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        return [_record(batch.slice(row, 1)) for row in range(batch.num_rows)]


def _record(batch: Any) -> dict[str, Any] | str:
    try:
        return batch.to_pylist()[0]
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error}"


def _txt(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    path = piece.path
    damaged: tuple[type[Exception], ...] = (UnicodeDecodeError, *decompression_errors())
    try:
        with closing(open_bytes(path)) as file:
            text = file.read().decode("utf-8")
    except damaged as error:
        report.add_malformed(f"{path}:1", f"not readable as UTF-8 text: {error}", on_error)
        return
    yield Document(text, {}, str(path), 1)


def _archive(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    from warcio.exceptions import ArchiveLoadFailed

    from megalite.corpus.web_pages import archive_pages

    path, number = piece.path, 0
    with closing(open_bytes(path)) as file:
        try:
            for text, meta, number in archive_pages(file, decompression_errors()):
                yield Document(text, meta, str(path), number)
        except (ArchiveLoadFailed, *decompression_errors()) as error:
            reason = f"damaged from here on: {' '.join(str(error).split())}"
            report.add_malformed(f"{path}:{number + 1}", reason, on_error)


def _page(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    from megalite.corpus.web_pages import read_page

    path = piece.path
    try:
        with closing(open_bytes(path)) as file:
            page = read_page(path, file)
    except decompression_errors() as error:
        report.add_malformed(f"{path}:1", f"damaged: {error}", on_error)
        return
    yield Document(page.text, page.meta, str(path), 1)


def _meta(record: dict[str, Any], text_key: str) -> dict[str, Any]:
    """What a record says beside its text; the inside of a ``meta`` object where it has one."""
    inner = record.get("meta")
    if isinstance(inner, dict):
        return inner
    return {key: value for key, value in record.items() if key != text_key}
