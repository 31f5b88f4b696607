"""Extracts the main text of web archives and HTML pages, with trafilatura."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

LARGEST_PAGE = 16 << 20
"""Bytes; a longer page is truncated."""
LARGEST_HEADER = 1 << 20
"""Maximum number of bytes of a record's header."""
CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)
HTML_TYPES = ("text/html", "application/xhtml+xml")


class Page(NamedTuple):
    text: str
    """Empty if the page has no main content."""
    meta: dict[str, Any]
    number: int
    """Number of the record in the archive, counted from 1."""


class _UntilDamage:
    """A file that ends at its first damage and records it: warcio treats an EOFError as the end of the archive."""

    def __init__(self, file: Any, damages: tuple[type[Exception], ...]) -> None:
        self._file, self._damages = file, damages
        self.damage: Exception | None = None
        self.header_left: int | None = LARGEST_HEADER
        """Bytes that may still be read before the header must end; None inside a record."""
        self._end = b""

    def read(self, size: int = -1) -> bytes:
        try:
            content: bytes = self._file.read1(size)
        except self._damages as error:
            self.damage = error
            return b""
        if self.header_left is not None:
            self.header_left -= len(content)
            if self.header_left < 0:
                self.damage = EOFError(f"a record's header has more than {LARGEST_HEADER:,} bytes")
                return b""
        self._end = (self._end + content[-4:])[-4:]
        return content

    def check_end(self) -> None:
        """A record ends with two empty lines (WARC 1.1, section 4). Raises: EOFError, or the damage."""
        if self.damage or not self._end.endswith((b"\r\n\r\n", b"\n\n")):
            raise self.damage or EOFError("the file ends inside a record")


def archive_pages(file: IO[bytes], damages: tuple[type[Exception], ...]) -> Iterator[Page]:
    """HTML and plain-text responses of a WARC file, and texts of a WET file; other records are skipped.

    Args:
        damages: the exceptions that reading a damaged ``file`` raises.

    Raises: warcio's ArchiveLoadFailed, EOFError or one of ``damages`` after the last complete page before the damage.
    """
    from warcio.archiveiterator import ArchiveIterator
    from warcio.limitreader import LimitReader

    until_damage = _UntilDamage(file, damages)
    for number, record in enumerate(ArchiveIterator(until_damage, no_record_parse=True), start=1):
        until_damage.header_left = None
        if not isinstance(record.raw_stream, LimitReader):  # without a length, the end of the record is unknown
            raise until_damage.damage or EOFError("a record's header is incomplete")
        if record.rec_type in ("response", "conversion"):
            content_type, content = record.content_type, _block(record, until_damage)
            if record.rec_type == "response":
                content_type, content = _payload(record, content)
            kind = (content_type or "").partition(";")[0].strip().lower()
            charset = CHARSET.search(content_type or "")
            if kind in (*HTML_TYPES, "text/plain"):
                read = main_text if kind in HTML_TYPES else decode
                url = (record.rec_headers.get_header("WARC-Target-URI") or "").strip("<>")
                meta = {"url": url, "date": record.rec_headers.get_header("WARC-Date"), "source": host_of(url)}
                yield Page(read(content, charset.group(1) if charset else None), meta, number)
        while record.raw_stream.limit:
            if not record.raw_stream.read(1 << 16):
                raise until_damage.damage or EOFError("the file ends inside a record")
        until_damage.header_left = LARGEST_HEADER
    until_damage.check_end()


def _block(record: Any, file: _UntilDamage) -> bytes:
    """Returns the record's block, truncated if too large. Raises: EOFError or the file's damage if it is incomplete."""
    block = _read_page(record.raw_stream)
    if len(block) < LARGEST_PAGE and record.raw_stream.limit:
        raise file.damage or EOFError("the file ends inside a record")
    return block


def _read_page(stream: Any) -> bytes:
    """Reads a stream up to the size of a page: a body can decompress to a thousand times its size."""
    parts, size = [], 0
    while size < LARGEST_PAGE and (part := stream.read(1 << 16)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _payload(record: Any, block: bytes) -> tuple[str | None, bytes]:
    """Returns content type and decoded body of an HTTP response; no content type unless it is a successful response."""
    from warcio.recordloader import ArcWarcRecord
    from warcio.statusandheaders import StatusAndHeadersParser, StatusAndHeadersParserException

    body = BytesIO(block)
    try:
        head = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1", "HTTP/2"], verify=True).parse(body)
    except (EOFError, StatusAndHeadersParserException):
        return None, b""
    if not (head.get_statuscode() or "").startswith("2"):
        return None, b""
    length = len(block) - body.tell()
    whole = ArcWarcRecord("warc", "response", record.rec_headers, body, head, None, length)
    return head.get_header("Content-Type"), _read_page(whole.content_stream())


def main_text(page: bytes, charset: str | None = None) -> str:
    """Returns the main content of an HTML page without menus and boilerplate; empty if there is none."""
    from trafilatura import extract

    html = decode(page, charset) if charset else page
    return extract(html, include_comments=False, deduplicate=False) or ""


def decode(content: bytes, charset: str | None) -> str:
    """Decodes by the given charset, else as UTF-8, else by the most likely charset."""
    for name in (charset, "utf-8"):
        try:
            if name:
                return content.decode(name)
        except (LookupError, UnicodeDecodeError):
            continue
    from charset_normalizer import from_bytes

    best = from_bytes(content[:100_000]).best()
    return content.decode(best.encoding if best else "utf-8", "replace")


def host_of(url: str) -> str:
    """Returns the host name of a URL, for counting by source."""
    return re.sub(r"^<?[a-z]+://(?:[^/@]*@)?([^/:>]*).*", r"\1", url.strip(), flags=re.IGNORECASE | re.DOTALL).lower()


def read_page(path: Path, file: IO[bytes]) -> Page:
    return Page(main_text(file.read(LARGEST_PAGE)), {"source": path.parent.name}, 1)
