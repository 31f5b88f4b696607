"""Input files: which ones a pattern names, of which kind they are, and their decompressed bytes."""

import gzip
import io
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import IO, Literal

from megalite.config.errors import DataError

LINE_SUFFIXES = (".jsonl", ".json", ".ndjson")
ARCHIVE_SUFFIXES = (".warc", ".wet")
PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
COMPRESSIONS = (".gz", ".zst")
FileKind = Literal["lines", "parquet", "txt", "archive", "page"]


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Returns the files that globs and plain paths name, without duplicates; the matches of a glob are sorted.

    Raises: FileNotFoundError if a pattern matches nothing; DataError if it is a folder.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = sorted(path for path in map(Path, glob(pattern, recursive=True)) if path.is_file())  # noqa: PTH207
        if Path(pattern).is_file():  # a plain path may contain [ or *
            matches = [Path(pattern)]
        if Path(pattern).is_dir():
            raise DataError(f"{pattern}: is a folder; name its files, for example '{pattern.rstrip('/')}/*.jsonl'")
        if not matches:
            raise FileNotFoundError(f"{pattern}: no file matches; check the path, and quote a pattern that contains *")
        found.update(dict.fromkeys(matches))
    return list(found)


def expand_inputs(patterns: Sequence[str]) -> list[Path]:
    """As :func:`find_files`. Raises: also DataError if the kind of a file is not supported."""
    found = find_files(patterns)
    for path in found:
        file_kind(path)
    return found


def file_kind(path: Path) -> FileKind:
    """Returns how a file is read, by its suffix before ``.gz`` or ``.zst``. Raises: DataError for any other suffix."""
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
    raise DataError(
        f"{path}: unsupported file type; use .jsonl, .txt, .warc or .html (optionally .gz or .zst), or .parquet"
    )


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file for reading and decompresses it by its suffix."""
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    if path.suffix == ".zst":
        from megalite.files.zstd_file import ZstdFile

        return io.BufferedReader(ZstdFile(path), 1 << 20)
    return path.open("rb", 1 << 20)


def decompression_errors() -> tuple[type[Exception], ...]:
    """The exceptions that a truncated or damaged compressed file raises."""
    import zlib

    import zstandard

    return (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
