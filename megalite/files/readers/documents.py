"""Documents out of jsonl, parquet, txt, WARC and HTML files, compressed or not; malformed input is counted and located."""

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from glob import glob
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from megalite.config.errors import DataError
from megalite.files.readers.json_lines import BYTE_ORDER_MARK, LONGEST_LINE, bounded_lines, parse_line
from megalite.files.readers.malformed import OnError, ReadReport, refuse_malformed
from megalite.files.readers.parquet_rows import parquet_records

LINE_SUFFIXES = (".jsonl", ".json", ".ndjson")
ARCHIVE_SUFFIXES = (".warc", ".wet")
PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
COMPRESSIONS = (".gz", ".zst")
Kind = Literal["lines", "parquet", "txt", "archive", "page"]


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
    max_malformed: float | None = None,
) -> Iterator[Document]:
    """Every document of the files, in order, in bounded memory. A txt or HTML file is one document.

    Args:
        report: counts what is seen; who gives one decides how much may be malformed.
        max_malformed: so much may be, see ``refuse_malformed``.

    Raises: DataError at the first malformed place where ``on_error`` is ``fatal``, and at the end where too much was.
    """
    seen = report if report is not None else ReadReport()
    for path in paths:
        yield from read_piece(Piece(path), text_key, on_error, seen)
    if report is None:
        refuse_malformed(seen.documents, seen.malformed, seen.examples, max_malformed)


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


def _lines(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    path, number = piece.path, piece.before
    with closing(open_bytes(path)) as file:
        try:
            for number, line in enumerate(bounded_lines(file, piece.start, piece.end), start=piece.before + 1):
                if line is None:
                    report.add_malformed(f"{path}:{number}", f"a line of more than {LONGEST_LINE:,} bytes", on_error)
                    continue
                if not line or line.isspace():
                    continue
                parsed = parse_line(line, text_key)
                if isinstance(parsed, str):
                    report.add_malformed(f"{path}:{number}", parsed, on_error)
                    continue
                record, text = parsed
                yield Document(text, _meta(record, text_key), str(path), number)
        except decompression_errors() as error:
            report.add_malformed(f"{path}:{number + 1}", f"damaged from here on: {error}", on_error)


def decompression_errors() -> tuple[type[Exception], ...]:
    """What a truncated or damaged compressed file raises."""
    import zlib

    import zstandard

    return (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


def _parquet(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    for number, record in parquet_records(piece, (text_key,), on_error, report):
        yield Document(record[text_key], _meta(record, text_key), str(piece.path), number)


def _txt(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    path = piece.path
    damaged: tuple[type[Exception], ...] = (ValueError, *decompression_errors())  # UnicodeDecodeError is one
    try:
        with closing(open_bytes(path)) as file:
            content = file.read(LONGEST_LINE + 1).removeprefix(BYTE_ORDER_MARK)
        if len(content) > LONGEST_LINE:
            raise ValueError(f"more than {LONGEST_LINE:,} bytes in one document; split it, or make lines of JSON of it")
        text = content.decode("utf-8")
    except damaged as error:
        report.add_malformed(f"{path}:1", f"not readable as UTF-8 text: {error}", on_error)
        return
    yield Document(text, {}, str(path), 1)


def _archive(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    from warcio.exceptions import ArchiveLoadFailed

    from megalite.files.readers.web_pages import archive_pages

    path, number = piece.path, 0
    with closing(open_bytes(path)) as file:
        try:
            for text, meta, number in archive_pages(file, decompression_errors()):
                yield Document(text, meta, str(path), number)
        except (ArchiveLoadFailed, *decompression_errors()) as error:
            reason = f"damaged from here on: {' '.join(str(error).split())}"
            report.add_malformed(f"{path}:{number + 1}", reason, on_error)


def _page(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    from megalite.files.readers.web_pages import read_page

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
