"""Documents from jsonl, parquet, txt, WARC and HTML files, compressed or not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from megalite.files.readers.input_files import FileKind, decompression_errors, file_kind, open_bytes
from megalite.files.readers.json_lines import BYTE_ORDER_MARK, LONGEST_LINE, parse_line, parsed_lines
from megalite.files.readers.malformed import Malformed, OnError, ReadReport, refuse_malformed
from megalite.files.readers.parquet_rows import parquet_records
from megalite.files.readers.pieces import Piece


class Document(NamedTuple):
    """One text and where it comes from."""

    text: str
    meta: dict[str, Any]
    path: str
    line: int
    """Line (jsonl), row (parquet) or record (WARC), counted from 1; 1 for a txt or HTML file."""


def read_documents(
    paths: Sequence[Path],
    text_key: str = "text",
    on_error: OnError = "skip",
    report: ReadReport | None = None,
    max_malformed: float | None = None,
) -> Iterator[Document]:
    """Every document of the files, in order, in bounded memory. A txt or HTML file is one document.

    Args:
        report: counts what is read; a caller that passes one checks the number of malformed records itself.
        max_malformed: the limit otherwise, see ``refuse_malformed``.

    Raises: DataError at the first malformed place if ``on_error`` is ``fatal``, or at the end if there were too many.
    """
    seen = report if report is not None else ReadReport()
    for path in paths:
        yield from read_piece(Piece(path), text_key, on_error, seen)
    if report is None:
        refuse_malformed(seen.documents, seen.malformed, seen.examples, max_malformed)


def read_piece(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    """Every document of a piece, in order; see ``read_documents``."""
    readers: dict[FileKind, Callable[..., Iterator[Document]]] = {
        "lines": _lines,
        "parquet": _parquet,
        "txt": _txt,
        "archive": _archive,
        "page": _page,
    }
    for document in readers[file_kind(piece.path)](piece, text_key, on_error, report):
        report.documents += 1
        yield document


def _lines(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    lines = parsed_lines(piece, lambda line: parse_line(line, text_key), on_error, report)
    for number, (record, text) in lines:
        yield Document(text, _meta(record, text_key), str(piece.path), number)


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
            raise ValueError(f"more than {LONGEST_LINE:,} bytes in one document; split it, or convert it to jsonl")
        text = content.decode("utf-8")
    except damaged as error:
        report.add_malformed(Malformed(str(path), 1, f"not readable as UTF-8 text: {error}"), on_error)
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
            report.add_malformed(Malformed(str(path), number + 1, reason), on_error)


def _page(piece: Piece, text_key: str, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    from megalite.files.readers.web_pages import read_page

    path = piece.path
    try:
        with closing(open_bytes(path)) as file:
            page = read_page(path, file)
    except decompression_errors() as error:
        report.add_malformed(Malformed(str(path), 1, f"damaged: {error}"), on_error)
        return
    yield Document(page.text, page.meta, str(path), 1)


def _meta(record: dict[str, Any], text_key: str) -> dict[str, Any]:
    """The content of the record's ``meta`` object if it has one, else everything except the text."""
    inner = record.get("meta")
    if isinstance(inner, dict):
        return inner
    return {key: value for key, value in record.items() if key != text_key}
