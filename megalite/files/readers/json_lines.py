"""Lines of JSON: bounded, and read as leniently as their texts allow."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any

import orjson

from megalite.config.text_files import kind_of

LONGEST_LINE = 1 << 28
"""Bytes; a longer line, text or value is malformed, and passed over without being held in memory."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_ENCODINGS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "zstd data",
}
LONGEST_INTEGER = 4000
"""Digits; Python reads no more than 4,300 at once. Nobody computes with a longer one: it stays text."""
KEYS_SHOWN = 8
SURROGATE = re.compile("[\ud800-\udfff]")


def bounded_lines(file: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[bytes | None]:
    """The lines that begin from byte ``start`` on and before ``end``; None in place of one that is too long.

    A byte-order mark before a line is left out: files that have one may have been put together.
    """
    position = 0
    if start > 0:
        file.seek(start - 1)
        position = start - 1 + _pass_line(file)  # the rest of a line that began before, or only its end
    while (end is None or position < end) and (line := file.readline(LONGEST_LINE)):
        position += len(line)
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line.removeprefix(BYTE_ORDER_MARK)
        else:
            position += _pass_line(file)
            yield None


def _pass_line(file: IO[bytes]) -> int:
    """Read to the end of the line; how many bytes it were."""
    passed = 0
    while rest := file.readline(1 << 20):
        passed += len(rest)
        if rest.endswith(b"\n"):
            break
    return passed


def parse_record(line: bytes, used: str | None = None) -> dict[str, Any] | str:
    """The object in one line, or the reason why it is malformed.

    Read too is what Python's ``json`` writes and the standard does not have: NaN and the infinities (as null), and
    integers of any length. A lone surrogate, which no UTF-8 file can hold, makes a line malformed.

    Args:
        used: the only key of interest; a lone surrogate elsewhere becomes U+FFFD.
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
                record = {used: record[used]} | _mended({key: value for key, value in record.items() if key != used})
            if not is_text(json.dumps(record, ensure_ascii=False)):
                return "holds a lone surrogate, which is no character"
        except RecursionError:
            return _reason(line, error)
    return record if isinstance(record, dict) else f"{kind_of(record)}, not an object"


def parse_line(line: bytes, text_key: str) -> tuple[dict[str, Any], str] | str:
    """``(record, text)`` of one JSON line, or the reason why it is malformed."""
    record = parse_record(line, text_key)
    if isinstance(record, str):
        return record
    if text_key not in record:
        shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in list(record)[:KEYS_SHOWN])
        return f"no key '{text_key}'; the keys are {shown or 'none'}"
    text = record[text_key]
    return (record, text) if isinstance(text, str) else f"'{text_key}' holds {kind_of(text)}, not text"


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: a lone surrogate it cannot."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mended(value: Any) -> Any:
    """The same with U+FFFD for lone surrogates."""
    if isinstance(value, str):
        return value if is_text(value) else SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(inner) for key, inner in value.items()}
    return [_mended(inner) for inner in value] if isinstance(value, list) else value


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_INTEGER else digits


def _reason(line: bytes, error: Exception) -> str:
    for mark, name in OTHER_ENCODINGS.items():
        if line.startswith(mark):
            return f"not JSON: {name}; convert the file to UTF-8 text, or give it the suffix of its compression"
    return f"not JSON: {error}"
