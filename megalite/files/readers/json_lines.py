"""Lines of JSON, read in bounded memory and as leniently as their text allows."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, Any, TypeVar

import orjson

from megalite.config.text_files import kind_of
from megalite.files.readers.input_files import decompression_errors, open_bytes
from megalite.files.readers.malformed import Malformed, OnError, ReadReport
from megalite.files.readers.pieces import Piece, line_in_file

T = TypeVar("T")
LONGEST_LINE = 1 << 28
"""Bytes. A longer line, text or value is malformed and is skipped without being held in memory."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_ENCODINGS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "zstd data",
}
LONGEST_INTEGER = 4000
"""Digits. Python parses at most 4,300 by default; a longer integer is kept as text."""
KEYS_SHOWN = 8
SURROGATE = re.compile("[\ud800-\udfff]")


def parsed_lines(
    piece: Piece, parse: Callable[[bytes], T | str], on_error: OnError, report: ReadReport
) -> Iterator[tuple[int, T]]:
    """``(line number, parsed line)`` for every line of a piece that is neither blank nor malformed.

    Args:
        parse: returns the reason if a line is malformed.

    Raises: DataError at the first malformed line if ``on_error`` is ``fatal``.
    """
    number = piece.before

    def add_malformed(reason: str) -> None:
        line = line_in_file(piece, number) if on_error == "fatal" else number
        report.add_malformed(Malformed(str(piece.path), line, reason), on_error)

    with closing(open_bytes(piece.path)) as file:
        try:
            for number, line in enumerate(bounded_lines(file, piece.start, piece.end), start=piece.before + 1):
                if line is None:
                    add_malformed(f"a line of more than {LONGEST_LINE:,} bytes")
                elif not isinstance(parsed := parse(line), str):
                    yield number, parsed
                elif line and not line.isspace():
                    add_malformed(parsed)
        except decompression_errors() as error:
            number += 1
            add_malformed(f"damaged from here on: {error}")
    report.lines += number - piece.before


def bounded_lines(file: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[bytes | None]:
    """The lines that begin at byte ``start`` or later and before ``end``; None for a line that is too long.

    A byte-order mark at the start of any line is removed: concatenated files contain them.
    """
    position = 0
    if start > 0:
        file.seek(start - 1)
        position = start - 1 + _skip_line(file)  # the rest of the line before, or only its newline
    while (end is None or position < end) and (line := file.readline(LONGEST_LINE)):
        position += len(line)
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line.removeprefix(BYTE_ORDER_MARK)
        else:
            position += _skip_line(file)
            yield None


def _skip_line(file: IO[bytes]) -> int:
    """Reads to the end of the line. Returns the number of bytes read."""
    skipped = 0
    while rest := file.readline(1 << 20):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def parse_record(line: bytes, used: str | None = None) -> dict[str, Any] | str:
    """Returns the object in one line, or the reason why the line is malformed.

    Also accepts what Python's ``json`` writes beyond the standard: NaN and infinities (as null), and integers of any
    length. A lone surrogate, which UTF-8 cannot encode, makes a line malformed.

    Args:
        used: the only key of interest; lone surrogates elsewhere become U+FFFD.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            record = json.loads(line.decode("utf-8"), parse_constant=lambda _: None, parse_int=_integer)
        except (ValueError, RecursionError):
            return _reason(line, error)
        try:
            if isinstance(record, dict) and used is not None and used in record:
                record = {used: record[used]} | _without_surrogates(
                    {key: value for key, value in record.items() if key != used}
                )
            if not is_text(json.dumps(record, ensure_ascii=False)):
                return "contains a lone surrogate, which is not a character"
        except RecursionError:
            return _reason(line, error)
    return record if isinstance(record, dict) else f"{kind_of(record)}, not an object"


def parse_line(line: bytes, text_key: str) -> tuple[dict[str, Any], str] | str:
    """Returns ``(record, text)`` of one JSON line, or the reason why the line is malformed."""
    record = parse_record(line, text_key)
    if isinstance(record, str):
        return record
    if text_key not in record:
        shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in list(record)[:KEYS_SHOWN])
        return f"no key '{text_key}'; the keys are {shown or 'none'}"
    text = record[text_key]
    return (record, text) if isinstance(text, str) else f"'{text_key}' holds {kind_of(text)}, not text"


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode the text, that is, whether it has no lone surrogate."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_surrogates(value: Any) -> Any:
    """Replaces lone surrogates with U+FFFD."""
    if isinstance(value, str):
        return value if is_text(value) else SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(inner) for key, inner in value.items()}
    return [_without_surrogates(inner) for inner in value] if isinstance(value, list) else value


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_INTEGER else digits


def _reason(line: bytes, error: Exception) -> str:
    for mark, name in OTHER_ENCODINGS.items():
        if line.startswith(mark):
            return f"not JSON: {name}; convert the file to UTF-8 text, or give it the suffix of its compression"
    return f"not JSON: {error}"
