import gzip
from pathlib import Path

import pytest
import zstandard

from megalite.files.readers import documents as readers
from megalite.files.readers import json_lines
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs
from megalite.files.readers.malformed import ReadReport
from megalite.files.readers.web_pages import decode, host_of

BODY = "The river was high that spring, and the people of the village had to leave their houses for a week. " * 4
PAGE = f"<html><body><nav><a href='/'>Home</a></nav><article><p>{BODY}é</p></article></body></html>"


def record(kind: str, content_type: str, block: bytes, url: str = "http://news.example.org/a") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
    head += f"WARC-Record-ID: <urn:uuid:0>\r\nContent-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def response(content_type: str, content: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    return record("response", "application/http; msgtype=response", head + content)


@pytest.fixture
def archive() -> list[bytes]:
    return [
        record("warcinfo", "application/warc-fields", b"software: test\r\n"),
        record("request", "application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"),
        response("text/html; charset=latin-1", PAGE.encode("latin-1")),
        response("text/html", PAGE.encode(), status="404 Not Found"),
        response("image/png", b"\x89PNG"),
        response("text/plain; charset=utf-8", "plain é".encode()),
        record("conversion", "text/plain", "extracted é".encode()),
    ]


def test_pages_of_an_archive_are_read_with_their_places(archive: list[bytes], tmp_path: Path) -> None:
    whole = b"".join(archive)
    (tmp_path / "a.warc").write_bytes(whole)
    (tmp_path / "b.warc.gz").write_bytes(b"".join(map(gzip.compress, archive)))
    (tmp_path / "c.warc.zst").write_bytes(b"".join(map(zstandard.compress, archive)))
    (tmp_path / "d.warc.wet.gz").write_bytes(gzip.compress(whole))
    for path in expand_inputs([str(tmp_path / "*")]):
        page, plain, extracted = list(read_documents([path]))
        assert page.text.split() == f"{BODY}é".split()
        assert (plain.text, extracted.text) == ("plain é", "extracted é")
        assert [d.line for d in (page, plain, extracted)] == [3, 6, 7]
        assert page.meta == {
            "url": "http://news.example.org/a",
            "date": "2024-01-01T00:00:00Z",
            "source": "news.example.org",
        }


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz", ".warc.zst"])
def test_a_truncated_archive_gives_no_half_page(archive: list[bytes], tmp_path: Path, suffix: str) -> None:
    pack = {".warc": bytes, ".warc.gz": gzip.compress, ".warc.zst": zstandard.compress}[suffix]
    packed = [pack(one) for one in archive]
    whole, path = b"".join(packed), tmp_path / f"cut{suffix}"
    starts = [sum(map(len, packed[:place])) for place in range(len(packed))]
    for cut in range(starts[3] + 1, len(whole) - 4, 7):
        if cut in starts:
            continue
        path.write_bytes(whole[:cut])
        report = ReadReport()
        pages = len(list(read_documents([path], report=report)))
        assert report.malformed == 1, cut
        assert "damaged from here on" in report.examples[0]
        expected = 1 + (cut >= starts[6] - 4)
        assert pages <= expected, cut
        assert pages == expected or suffix != ".warc"  # the last few kB before the damage may go with it


def test_compressed_and_chunked_responses_are_decoded(tmp_path: Path) -> None:
    packed = gzip.compress(b"packed text")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    gzipped = head + b"Content-Encoding: gzip\r\n\r\n" + packed
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nin p\r\n4\r\narts\r\n0\r\n\r\n"
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(record("response", "application/http", block) for block in (gzipped, chunked, b"junk")))
    assert [d.text for d in read_documents([path])] == ["packed text", "in parts"]


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "no.warc"
    path.write_bytes(b"hello\nworld\n" * 20 + b"\n")
    report = ReadReport()
    assert list(read_documents([path], report=report)) == []
    assert report.malformed == 1


def test_an_html_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE)
    (tmp_path / "b.htm.gz").write_bytes(gzip.compress(b"<html><body></body></html>"))
    texts = [d.text for d in read_documents(expand_inputs([str(tmp_path / "*")]))]
    assert texts[0].split() == f"{BODY}é".split()
    assert texts[1] == ""


def test_real_archives_give_their_pages(shared_data: Path) -> None:
    report = ReadReport()
    pages = list(read_documents(expand_inputs([str(shared_data / "messy/warc/*.gz")]), report=report))
    assert (len(pages), report.malformed) == (37, 0)
    assert sum(len(page.text) > 300 for page in pages) >= 36


def test_charsets_are_taken_from_the_header_then_guessed() -> None:
    russian = "Москва столица России и крупнейший город страны. " * 5
    assert decode(russian.encode("cp1251"), "windows-1251") == russian
    assert decode(russian.encode(), None) == russian
    assert decode(russian.encode(), "no-such-charset") == russian
    assert decode(russian.encode("cp1251"), None) == russian


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://a.org/b", "a.org"), ("<https://user@A.org:80/b>", "a.org"), ("dns:a", "dns:a")],
)
def test_the_host_of_an_address(url: str, host: str) -> None:
    assert host_of(url) == host


def test_a_line_that_is_too_long_is_passed_over_and_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (readers, json_lines):
        monkeypatch.setattr(module, "LONGEST_LINE", 100)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "' + "x" * 3_000_000 + '"}\n{"text": "b"}\n' + '{"text": "' + "y" * 99)
    report = ReadReport()
    assert [(d.text, d.line) for d in read_documents([path], report=report)] == [("a", 1), ("b", 3)]
    assert report.malformed == 2
    assert report.examples[0] == f"{path}:2: a line of more than 100 bytes"
